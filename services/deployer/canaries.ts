import { Purpose, Split } from '@understudy/contract';
import type { Deployment } from '@understudy/contract/deployer';
import type { PairStoreService } from '@understudy/contract/pair-store';
import { messageOf } from '@understudy/service/errors';
import type { RpcClient } from '@understudy/service/rpc/client';
import { lowerBound } from '@understudy/student/statistics/clopper-pearson';
import { compileTask } from '@understudy/task';
import type { DeployerContext } from './context.ts';
import {
  CANARY_CONCURRENCY,
  CANARY_PROMPTS,
  DRIFT_LEVEL,
  LEAST_UNSTEADINESS,
  MIN_CANARY_ANSWERS,
  STREAM_TIMEOUT_MS,
} from './limits.ts';
import type { Watch } from './watch.ts';

/** What became of asking the teacher the fixed prompts again. */
export interface CanaryRound {
  /** Prompts that it answered. */
  asked: number;
  /** Of those, answered otherwise than in the student's pairs, twice in a row. */
  otherwise: number;
  /** More than an unsteady teacher would. */
  changed: boolean;
  /** Fingerprint of the student's pairs, and of the newest answer; empty where there was none. */
  fingerprint: string;
  seenFingerprint: string;
  told: string;
}

interface Canary {
  inputJson: string;
  answerJson: string;
}

/** One more round for the task; its number makes the level that it is judged at. */
export async function lookAtTeacher(context: DeployerContext, deployment: Deployment): Promise<CanaryRound> {
  const { task, servingGeneration } = deployment;
  const { rounds } = await context.watches.update(task, (before) => counted(before, servingGeneration, Date.now()));
  return askAgain(context, deployment, rounds);
}

/** A round that takes place now. */
export function counted(before: Watch, generation: bigint, nowMs: number): { watch: Watch; rounds: number } {
  const known = before.drift?.generation === String(generation) ? before.drift.rounds : 0;
  const drift = { generation: String(generation), rounds: known + 1, lastAtMs: nowMs };
  return { watch: { ...before, drift }, rounds: known + 1 };
}

/**
 * Asks the teacher some of the very prompts that the student learnt from, always the same. An answer counts as changed where two in a row
 * differ from the one learnt: a teacher that wavers in 20% of cases does so in 4%. Rounds share the level as looks at a test set do.
 */
export async function askAgain(context: DeployerContext, deployment: Deployment, round: number): Promise<CanaryRound> {
  const { journal, standings, pairStore } = context;
  const proven = await standings.proven(deployment.reportDigest);
  const seen = { asked: 0, otherwise: 0, fingerprint: '' };
  try {
    const left = await canariesOf(pairStore, proven.snapshot.digest);
    const worker = async () => {
      for (let canary = left.pop(); canary; canary = left.pop()) await askOne(context, deployment, canary, seen);
    };
    await Promise.all(Array.from({ length: CANARY_CONCURRENCY }, worker));
  } catch (error) {
    journal.canariesFailed(deployment.task, messageOf(error));
  }
  const { asked, otherwise } = seen;
  const level = (DRIFT_LEVEL * 6) / (Math.PI * round) ** 2;
  const changed = asked >= MIN_CANARY_ANSWERS && lowerBound(otherwise, asked, level) > LEAST_UNSTEADINESS;
  const told =
    asked < MIN_CANARY_ANSWERS
      ? `the teacher answered only ${asked} of ${CANARY_PROMPTS} fixed prompts, so it cannot be said whether it changed`
      : `the teacher answers ${otherwise} of ${asked} fixed prompts otherwise than before${changed ? ': it has changed' : ''}`;
  journal.canaries(deployment.task, seen, changed);
  return {
    asked,
    otherwise,
    changed,
    fingerprint: proven.snapshot.fingerprint,
    seenFingerprint: seen.fingerprint,
    told,
  };
}

async function askOne(
  context: DeployerContext,
  { task, taskDigest }: Deployment,
  { inputJson, answerJson }: Canary,
  seen: { asked: number; otherwise: number; fingerprint: string },
): Promise<void> {
  const request = { task, taskDigest, inputJson, purpose: Purpose.CANARY };
  const { output } = compileTask(await context.standings.task(taskDigest));
  for (let time = 1; time <= 2; time += 1) {
    const { outcome } = await context.teacher.ask(request, { timeoutMs: ASK_TIMEOUT_MS });
    if (outcome.case !== 'pair') return;
    seen.fingerprint = outcome.value.fingerprint;
    if (time === 1) seen.asked += 1;
    if (output.agreement(outcome.value.answerJson, answerJson).whole) return;
  }
  seen.otherwise += 1;
}

/** Longer than a teacher gateway tries. */
const ASK_TIMEOUT_MS = 120_000;

async function canariesOf(pairStore: RpcClient<typeof PairStoreService>, snapshotDigest: string): Promise<Canary[]> {
  const canaries: Canary[] = [];
  // In the order of their ids, which are digests: the first ones are as good as drawn, and always the same.
  for await (const { pairs } of pairStore.streamPairs(
    { snapshotDigest, split: Split.TRAIN },
    { timeoutMs: STREAM_TIMEOUT_MS },
  )) {
    for (const { pair } of pairs) if (pair) canaries.push({ inputJson: pair.inputJson, answerJson: pair.answerJson });
    if (canaries.length >= CANARY_PROMPTS) break;
  }
  return canaries.slice(0, CANARY_PROMPTS);
}
