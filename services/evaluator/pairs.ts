import { status } from '@grpc/grpc-js';
import { Split } from '@understudy/contract';
import type { PairStoreService, SplitPair } from '@understudy/contract/pair-store';
import { TerminalError } from '@understudy/service/errors';
import type { RpcClient } from '@understudy/service/rpc/client';
import { RpcError } from '@understudy/service/rpc/status';
import type { CompiledTask } from '@understudy/task';
import { MAX_PAIRS, STREAM_TIMEOUT_MS } from './limits.ts';
import type { Turn } from './turn.ts';

/** Answers of the pair store that will be the same the next time. */
const HOPELESS: ReadonlySet<status> = new Set([
  status.NOT_FOUND,
  status.INVALID_ARGUMENT,
  status.FAILED_PRECONDITION,
  status.UNIMPLEMENTED,
]);

/** A pair as it is judged by. Answers are canonical JSON. */
export interface JudgedPair {
  promptId: string;
  inputJson: string;
  text: string;
  /** Name of the source that it came from; empty where nobody said. */
  origin: string;
  /** The teacher's. */
  answer: string;
  /** The label in it, where the output is one label. */
  label: string | undefined;
  /** Requests that it stands for; at least 1. */
  weight: number;
  /** The source's own truth, where it has one that fits the schema. */
  reference: string | undefined;
  teacherLatencyMs: number;
  teacherUsd: number;
}

interface Asked {
  pairStore: RpcClient<typeof PairStoreService>;
  task: CompiledTask;
  turn: Turn;
  split: Split.DEV | Split.TEST;
  traceparent: string | undefined;
  signal: AbortSignal;
}

/**
 * The pairs of one split of the turn's snapshot.
 * @throws RetryableError while the pair store cannot be reached
 * @throws TerminalError when the snapshot is unknown, or its pairs are not what event and task say
 */
export async function readPairs(asked: Asked): Promise<JudgedPair[]> {
  const { pairStore, task, turn, split, traceparent, signal } = asked;
  const expected = split === Split.DEV ? turn.snapshot.devPairs : turn.snapshot.testPairs;
  const where = `snapshot ${turn.snapshot.digest}, split ${Split[split].toLowerCase()}`;
  if (expected > MAX_PAIRS) throw new TerminalError(`${where}: ${expected} pairs are over the limit of ${MAX_PAIRS}`);
  const pairs: JudgedPair[] = [];
  let erased = 0;
  try {
    const request = { snapshotDigest: turn.snapshot.digest, split };
    for await (const chunk of pairStore.streamPairs(request, { timeoutMs: STREAM_TIMEOUT_MS, traceparent, signal })) {
      for (const given of chunk.pairs) pairs.push(judgedPair(given, { task, split, where }));
      erased += chunk.erased;
      if (pairs.length > expected) break;
    }
  } catch (error) {
    const hopeless = error instanceof RpcError && HOPELESS.has(error.code);
    throw hopeless ? new TerminalError(`${where} cannot be read`, { cause: error }) : error;
  }
  if (pairs.length + erased !== expected) {
    throw new TerminalError(
      `${where}: student.trained says ${expected} pairs, the pair store gave ${pairs.length} and ${erased} erased`,
    );
  }
  return pairs;
}

function judgedPair(
  given: SplitPair,
  { task, split, where }: { task: CompiledTask; split: Split; where: string },
): JudgedPair {
  const { pair } = given;
  if (!pair || given.split !== split) {
    throw new TerminalError(`${where}: the pair store gave ${pair ? `a pair of ${Split[given.split]}` : 'no pair'}`);
  }
  const answer = task.parseAnswer(pair.answerJson);
  if (!answer.ok) throw new TerminalError(`${where}: pair ${pair.pairId} has no answer of the task: ${answer.message}`);
  const { single } = task.output;
  const reference = pair.referenceJson === undefined ? undefined : task.parseAnswer(pair.referenceJson);
  return {
    promptId: pair.promptId,
    inputJson: pair.inputJson,
    text: pair.text,
    origin: pair.origin,
    answer: answer.answer,
    label: single && JSON.parse(answer.answer)[single.field],
    weight: Math.max(1, given.weight),
    reference: reference?.ok ? reference.answer : undefined,
    teacherLatencyMs: Number(pair.usage?.durationUs ?? 0n) / 1_000,
    teacherUsd: Number(pair.usage?.spentMicroUsd ?? 0n) / 1_000_000,
  };
}
