import { Split } from '@understudy/contract';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { headsOf, openBundle, StudentModel } from '@understudy/student';
import type { CompiledTask } from '@understudy/task';
import { splitOf } from '@understudy/task/grouping/split';
import type { StepContext } from '../context.ts';
import {
  CHOICE_POOL_PER_PROMPT,
  JUDGING_SHARE,
  MAX_POOL_PROMPTS,
  POOL_PER_CALL,
  PREDICTED_AT_ONCE,
} from '../limits.ts';
import type { Batch, Run, RunTerms } from '../run.ts';
import type { SampledPrompt } from '../sample.ts';
import { promptsOf, readSample } from '../sample-store.ts';
import { doubtOf } from './doubt.ts';
import { pickBatch } from './pick.ts';

/** Inputs that a run draws: what it may ask, and where it chooses, enough to choose from. */
export function poolSize({ budgetCalls, active }: RunTerms): number {
  if (!active) return budgetCalls;
  return Math.max(budgetCalls, Math.min(MAX_POOL_PROMPTS, POOL_PER_CALL * budgetCalls));
}

/**
 * The prompts of a further batch. A share of them are the next of the random sample that fall into dev or test, so those grow and
 * stay a random sample; the rest are chosen among what can only train. So no test input is asked, or left out, because of what a
 * student answers to it.
 */
export async function chooseBatch(
  context: Pick<StepContext, 'blobs'>,
  compiled: CompiledTask,
  run: Run,
  batch: Batch,
  signal: AbortSignal,
): Promise<SampledPrompt[]> {
  const { blobs } = context;
  const size = batch.to - batch.from;
  const asked = await askedBefore(blobs, compiled, run, batch);
  const left: SampledPrompt[] = [];
  const sample = run.chunks.reduce((sum, { prompts }) => sum + prompts, 0);
  for await (const prompt of readSample(blobs, run.chunks, 0, sample)) {
    if (!prompt.forgotten && !asked.has(prompt.promptId)) left.push(prompt);
    if (left.length === CHOICE_POOL_PER_PROMPT * size) break;
  }
  const { name, splits } = compiled.task;
  const trains = ({ promptId, trainsOnly }: SampledPrompt) =>
    trainsOnly === true || splitOf(name, promptId, splits) === Split.TRAIN;
  const judges = left.filter((prompt) => !trains(prompt)).slice(0, Math.ceil(JUDGING_SHARE * size));
  const pool = left.filter(trains);
  const texts = pool.map(({ inputJson }) => textOf(compiled, inputJson));
  const doubts = await doubtsOf(blobs, run, texts, signal);
  const candidates = texts.map((text, index) => ({ text, doubt: doubts[index] as number }));
  const chosen = pickBatch(candidates, asked.values(), size - judges.length).map(
    (index) => pool[index] as SampledPrompt,
  );
  // The pool may run out before the sample does.
  const taken = new Set([...judges, ...chosen].map(({ promptId }) => promptId));
  const filling = left.filter(({ promptId }) => !taken.has(promptId)).slice(0, size - taken.size);
  return [...judges, ...chosen.map((prompt) => ({ ...prompt, trainsOnly: true })), ...filling];
}

/** Texts of the batches before by prompt id. */
async function askedBefore(
  blobs: BlobStore,
  compiled: CompiledTask,
  run: Run,
  batch: Batch,
): Promise<Map<string, string>> {
  const asked = new Map<string, string>();
  for (const earlier of run.batches.filter(({ number }) => number < batch.number)) {
    for await (const { promptId, inputJson, forgotten } of promptsOf(blobs, run, earlier)) {
      asked.set(promptId, forgotten ? '' : textOf(compiled, inputJson));
    }
  }
  return asked;
}

const textOf = (compiled: CompiledTask, inputJson: string): string => compiled.renderText(JSON.parse(inputJson));

/** How unsure the run's last student is of each text. */
async function doubtsOf(blobs: BlobStore, run: Run, texts: readonly string[], signal: AbortSignal): Promise<number[]> {
  const digest = run.state.student?.digest;
  // Nothing was trained: all texts are alike, and only novelty tells them apart.
  if (!digest) return texts.map(() => 1);
  const model = await StudentModel.load(await openBundle(await blobs.get('students', digest), digest), { threads: 1 });
  const heads = headsOf(model.description);
  try {
    const doubts: number[] = [];
    for (let from = 0; from < texts.length; from += PREDICTED_AT_ONCE) {
      signal.throwIfAborted();
      const some = texts.slice(from, from + PREDICTED_AT_ONCE);
      const predictions = await model.predict(some);
      doubts.push(...predictions.map((prediction, index) => doubtOf(prediction, heads, some[index] as string)));
      // The process has heartbeats and requests to answer meanwhile.
      await new Promise(setImmediate);
    }
    return doubts;
  } finally {
    await model.release();
  }
}
