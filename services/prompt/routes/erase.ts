import type { EraseRequest } from '@understudy/contract/erasure';
import { promptIdBytes, promptIdsOf } from '@understudy/task';
import { InputMatcher, versionsOf } from '@understudy/task/versions';
import type { PromptContext } from '../context.ts';
import { eraseFromSamples } from '../erasure/erase-samples.ts';
import { eraseWritten } from '../writing/writing.ts';

/** Erases inputs from what this service keeps: samples of runs, and what teachers wrote. */
export async function erase(context: PromptContext, { task, promptIds, source }: EraseRequest) {
  const ids = new Set(promptIdsOf(promptIds));
  // What a run has in memory already is not published any more either.
  for (const id of ids) context.forgotten.add(id);
  const runs = { list: () => context.runStore.list() };
  const { prompts, ofSource } = await eraseFromSamples({ ...context, runs }, { task, promptIds: ids, source });
  for (const id of ofSource) context.forgotten.add(id);
  const versions = await versionsOf(context.blobs, task, context.idKey);
  const matcher = new InputMatcher(versions, new Set([...ids, ...ofSource]));
  const written = await eraseWritten(context.blobs, versions, matcher);
  const shown = versions.filter((version) => version.task.examples.some(({ input }) => matcher.isInput(input)));
  const remains = shown.map(
    ({ digest }) => `version ${digest.slice(0, 12)} of ${task} has it as an example: take it out of the task's file`,
  );
  return {
    erased: { 'sampled prompts': BigInt(prompts), 'written inputs': BigInt(written) },
    promptIds: promptIdBytes(ofSource),
    remains,
  };
}
