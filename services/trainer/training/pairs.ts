import { status } from '@grpc/grpc-js';
import { Split } from '@understudy/contract';
import type { PairStoreService, SplitPair } from '@understudy/contract/pair-store';
import { TerminalError } from '@understudy/service/errors';
import type { RpcClient } from '@understudy/service/rpc/client';
import { RpcError } from '@understudy/service/rpc/status';
import type { Example } from '@understudy/student';
import { MAX_PAIRS, STREAM_TIMEOUT_MS } from '../limits.ts';
import type { Order } from '../order.ts';

/** Answers of the pair store that will be the same the next time. */
const HOPELESS: ReadonlySet<status> = new Set([
  status.NOT_FOUND,
  status.INVALID_ARGUMENT,
  status.FAILED_PRECONDITION,
  status.UNIMPLEMENTED,
]);

type LearningSplit = Split.TRAIN | Split.DEV;

type Single = { readonly field: string; readonly labels: readonly string[] };

/**
 * The examples of one split of the order's snapshot, in the pair store's order.
 * @throws RetryableError while the pair store cannot be reached
 * @throws TerminalError when the snapshot is unknown, or its pairs are not what event and task say
 */
export async function readExamples(
  pairStore: RpcClient<typeof PairStoreService>,
  order: Order,
  split: LearningSplit,
  single: Single,
  traceparent: string | undefined,
): Promise<Example[]> {
  const { digest, trainPairs, devPairs } = order.snapshot;
  const expected = split === Split.TRAIN ? trainPairs : devPairs;
  const where = `snapshot ${digest}, split ${Split[split].toLowerCase()}`;
  if (expected > MAX_PAIRS) throw new TerminalError(`${where}: ${expected} pairs are over the limit of ${MAX_PAIRS}`);
  const examples: Example[] = [];
  try {
    const request = { snapshotDigest: digest, split };
    for await (const chunk of pairStore.streamPairs(request, { timeoutMs: STREAM_TIMEOUT_MS, traceparent })) {
      for (const pair of chunk.pairs) examples.push(exampleOf(pair, split, single, where));
      if (examples.length > expected) break;
    }
  } catch (error) {
    const hopeless = error instanceof RpcError && HOPELESS.has(error.code);
    throw hopeless ? new TerminalError(`${where} cannot be read`, { cause: error }) : error;
  }
  if (examples.length !== expected) {
    throw new TerminalError(`${where}: pairs.sealed says ${expected} pairs, the pair store gave ${examples.length}`);
  }
  return examples;
}

/**
 * How much a pair counts. On dev a request counts as one, as it will on test. In training a pair that stands for a
 * thousand requests counts as eleven: it must not be all that a batch teaches.
 */
const weightOf = (requests: number, split: LearningSplit): number =>
  split === Split.DEV ? Math.max(1, requests) : 1 + Math.log2(Math.max(1, requests));

function exampleOf(given: SplitPair, split: LearningSplit, { field, labels }: Single, where: string): Example {
  const { pair } = given;
  if (!pair || given.split !== split) {
    throw new TerminalError(`${where}: the pair store gave ${pair ? `a pair of ${Split[given.split]}` : 'no pair'}`);
  }
  const answer: string = JSON.parse(pair.answerJson)[field];
  const label = labels.indexOf(answer);
  if (label < 0) {
    throw new TerminalError(
      `${where}: pair ${pair.pairId} has the label ${JSON.stringify(answer)}, expected one of ${labels.join(', ')}`,
    );
  }
  const soft = pair.soft.find(({ head }) => head === field)?.probabilities;
  const target = soft ?? labels.map((_, index) => (index === label ? 1 : 0));
  return { text: pair.text, target, weight: weightOf(given.weight, split) };
}
