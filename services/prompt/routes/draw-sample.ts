import type { DrawSampleRequest } from '@understudy/contract/prompt';
import { messageOf } from '@understudy/service/errors';
import type { CallContext } from '@understudy/service/rpc/server';
import { failedPrecondition, invalidArgument, notFound } from '@understudy/service/rpc/status';
import type { PromptContext } from '../context.ts';
import { forgottenOf } from '../erasure/forgotten.ts';
import { MAX_DRAWN_INPUTS } from '../limits.ts';
import { termsOf } from '../run-state.ts';
import { drawSample as draw, SampleError } from '../sample.ts';
import { poolSize } from '../selection/choose-batch.ts';
import { openSources, type Writing } from '../sources/read.ts';
import { SourceError } from '../sources/source.ts';

/** Inputs that a teacher would have to write cost money: they are left out. */
export const unwritten = (): Writing => ({ records: (async function* () {})(), report: () => ({}) });

/** Draws the sample that a run would ask, and forgets it. */
export async function drawSample(context: PromptContext, request: DrawSampleRequest, call: CallContext) {
  if (request.inputs > MAX_DRAWN_INPUTS) {
    throw invalidArgument(`inputs: expected at most ${MAX_DRAWN_INPUTS}, came ${request.inputs}`);
  }
  const compiled = request.taskDigest
    ? await context.tasks.byDigest(request.taskDigest)
    : await context.tasks.newest(request.task);
  if (compiled === undefined) throw notFound(`no task ${request.task}: apply it first`);
  const sources = openSources(compiled, { s3: context.config, write: unwritten });
  const terms = termsOf(compiled.task);
  try {
    const { prompts, pairs, population, duplicates, badRecords } = await draw(
      compiled,
      sources,
      poolSize(terms),
      await forgottenOf(context, compiled.task.name),
    );
    const unasked = prompts.slice(pairs);
    call.signal.throwIfAborted();
    const asked = Math.min(unasked.length, compiled.task.budget.calls);
    return {
      ...{ taskDigest: compiled.digest, population, duplicates, badRecords, prompts: asked },
      firstBatch: Math.min(asked, terms.firstBatch),
      inputJson: unasked.slice(0, request.inputs).map(({ inputJson }) => inputJson),
    };
  } catch (error) {
    if (error instanceof SourceError || error instanceof SampleError) throw failedPrecondition(messageOf(error));
    throw error;
  }
}
