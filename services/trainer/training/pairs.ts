import { status } from '@grpc/grpc-js';
import { type Pair, Split } from '@understudy/contract';
import type { PairStoreService, SplitPair } from '@understudy/contract/pair-store';
import { TerminalError } from '@understudy/service/errors';
import type { RpcClient } from '@understudy/service/rpc/client';
import { RpcError } from '@understudy/service/rpc/status';
import type { Example } from '@understudy/student';
import type { OutputPlan } from '@understudy/task';
import { MAX_PAIRS, STREAM_TIMEOUT_MS } from '../limits.ts';
import type { Order } from '../order.ts';
import { mergedTarget, type Sample, sampleOf } from './targets.ts';

/** Answers of the pair store that will be the same the next time. */
const HOPELESS: ReadonlySet<status> = new Set([
  status.NOT_FOUND,
  status.INVALID_ARGUMENT,
  status.FAILED_PRECONDITION,
  status.UNIMPLEMENTED,
]);

type LearningSplit = Split.TRAIN | Split.DEV;

/** A text with what the teacher answered to it most often. */
export type Answered = { readonly text: string; readonly answerJson: string; readonly weight: number };

/** An example with the first pair that it is made of, and the group of that pair's near-duplicates. */
export type LearntPair = Example & Answered & { readonly pairId: string; readonly groupId: string };

/** The prompts of a split: those that a student can learn from, and those whose answer no student can give. */
export type SplitExamples = {
  readonly examples: readonly LearntPair[];
  /** Their answers copy what is not in the text. They are left out of training, and count against every student on dev. */
  readonly unlearnable: readonly (Answered & { readonly reason: string })[];
};

/**
 * The examples of one split of the order's snapshot, in the pair store's order; several answers to one prompt make one
 * example, with the share of each as its probabilities.
 * @throws RetryableError while the pair store cannot be reached
 * @throws TerminalError when the snapshot is unknown, or its pairs are not what event and task say
 */
export async function readExamples(
  pairStore: RpcClient<typeof PairStoreService>,
  order: Order,
  split: LearningSplit,
  plan: OutputPlan,
  traceparent: string | undefined,
): Promise<SplitExamples> {
  const { digest, trainPairs, devPairs } = order.snapshot;
  const expected = split === Split.TRAIN ? trainPairs : devPairs;
  const where = `snapshot ${digest}, split ${Split[split].toLowerCase()}`;
  if (expected > MAX_PAIRS) throw new TerminalError(`${where}: ${expected} pairs are over the limit of ${MAX_PAIRS}`);
  const prompts = new Map<string, Prompt>();
  let count = 0;
  try {
    const request = { snapshotDigest: digest, split };
    for await (const chunk of pairStore.streamPairs(request, { timeoutMs: STREAM_TIMEOUT_MS, traceparent })) {
      for (const given of chunk.pairs) addTo(prompts, given, split, where);
      count += chunk.pairs.length + chunk.erased;
      if (count > expected) break;
    }
  } catch (error) {
    const hopeless = error instanceof RpcError && HOPELESS.has(error.code);
    throw hopeless ? new TerminalError(`${where} cannot be read`, { cause: error }) : error;
  }
  if (count !== expected) {
    throw new TerminalError(`${where}: pairs.sealed says ${expected} pairs, the pair store gave ${count}`);
  }
  return examplesOf([...prompts.values()], plan, split, where);
}

type Prompt = { readonly requests: number; readonly groupId: string; readonly pairs: Pair[] };

function addTo(
  prompts: Map<string, Prompt>,
  { pair, split: given, groupId, weight }: SplitPair,
  split: LearningSplit,
  where: string,
): void {
  if (!pair || given !== split) {
    throw new TerminalError(`${where}: the pair store gave ${pair ? `a pair of ${Split[given]}` : 'no pair'}`);
  }
  const known = prompts.get(pair.promptId);
  if (known) known.pairs.push(pair);
  else prompts.set(pair.promptId, { requests: weight, groupId, pairs: [pair] });
}

/**
 * How much a prompt counts. On dev a request counts as one, as it will on test. In training a prompt that stands for a
 * thousand requests counts as eleven: it must not be all that a batch teaches.
 */
const weightOf = (requests: number, split: LearningSplit): number =>
  split === Split.DEV ? Math.max(1, requests) : 1 + Math.log2(Math.max(1, requests));

function examplesOf(prompts: readonly Prompt[], plan: OutputPlan, split: LearningSplit, where: string): SplitExamples {
  const examples: LearntPair[] = [];
  const unlearnable: (Answered & { reason: string })[] = [];
  for (const { requests, groupId, pairs } of prompts) {
    const weight = weightOf(requests, split);
    const samples: Sample[] = [];
    let refused: (Answered & { reason: string }) | undefined;
    for (const pair of pairs) {
      const sample = sampleOf(pair, plan, where);
      if ('target' in sample) samples.push(sample);
      else refused ??= { text: pair.text, answerJson: pair.answerJson, weight, reason: sample.reason };
    }
    const { pairId, text } = pairs[0] as Pair;
    if (samples.length > 0) examples.push({ pairId, groupId, text, weight, ...mergedTarget(plan.heads, samples) });
    else if (refused) unlearnable.push(refused);
  }
  return { examples, unlearnable };
}
