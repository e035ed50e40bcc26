/** How often the teacher agrees with itself: no student can be expected to agree more often than that. */
import { DeclineReason, Purpose } from '@understudy/contract';
import type { TeacherGatewayService } from '@understudy/contract/teacher-gateway';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { RetryableError } from '@understudy/service/errors';
import type { RpcClient } from '@understudy/service/rpc/client';
import { lowerBound, upperBound } from '@understudy/student/statistics/clopper-pearson';
import type { CompiledTask } from '@understudy/task';
import { CEILING_CONCURRENCY, CEILING_RETRY_MS, CEILING_SHARE, CEILING_TIMEOUT_MS } from './limits.ts';
import type { JudgedPair } from './pairs.ts';
import { type CeilingReport, CeilingSchema, type VerdictReport } from './report.ts';
import type { Turn } from './turn.ts';

export interface CeilingParts {
  readonly teacher: RpcClient<typeof TeacherGatewayService>;
  readonly blobs: BlobStore;
  readonly task: CompiledTask;
  readonly turn: Turn;
  /** In the order of pair ids, which are hashes: the first ones are a random sample. */
  readonly dev: readonly JudgedPair[];
  readonly traceparent: string | undefined;
  readonly signal: AbortSignal;
}

/**
 * Asks the teacher again what it has answered on dev, out of the run's budget; once for each version of task and teacher. Null where the
 * task asks for no sample, or the teacher answered nothing.
 * @throws RetryableError while the teacher cannot be reached
 */
export async function measureCeiling(parts: CeilingParts): Promise<CeilingReport | null> {
  const { blobs, task, turn, dev } = parts;
  const { goal, budget } = task.task;
  const { ceilingSample, confidence } = goal;
  if (ceilingSample === 0) return null;
  const most = Math.max(1, Math.floor(CEILING_SHARE * budget.calls));
  const name = `evaluator/ceilings/${turn.taskDigest}/${turn.snapshot.fingerprint}.json`;
  const kept = await blobs.getNamed(name);
  if (kept) return CeilingSchema.parse(JSON.parse(new TextDecoder().decode(kept)));
  const outcomes = await askAll(parts, dev.slice(0, Math.min(ceilingSample, most)));
  const answered = outcomes.filter((agrees) => agrees !== undefined);
  if (answered.length === 0) return null;
  const agreeing = answered.filter(Boolean).length;
  const ceiling = {
    pairs: answered.length,
    agreeing,
    lowerBound: lowerBound(agreeing, answered.length, 1 - confidence),
    upperBound: upperBound(agreeing, answered.length, 1 - confidence),
  };
  await blobs.putNamed(name, new TextEncoder().encode(JSON.stringify(ceiling)));
  return ceiling;
}

/** The verdict where the goal lies above what the teacher itself reaches. */
export function verdictOfCeiling(ceiling: CeilingReport | null, goalAgreement: number): VerdictReport | undefined {
  if (ceiling === null || ceiling.upperBound >= goalAgreement) return undefined;
  const percent = (share: number): string => `${(100 * share).toFixed(2)}%`;
  const { pairs, agreeing, upperBound: most } = ceiling;
  const reason = `asked again, the teacher gave the same answer to ${agreeing} of ${pairs} inputs, which proves that it agrees with itself on at most ${percent(most)}; the goal of ${percent(goalAgreement)} is above that, and no student can reach it: this task cannot be distilled to this goal: lower goal.agreement, or make the teacher's answers steadier (temperature 0, clearer instructions)`;
  return { passed: false, reason, morePairs: 0, notDistillable: true };
}

/** Whether each is answered as before; undefined where the teacher gave no valid answer. */
async function askAll(parts: CeilingParts, pairs: readonly JudgedPair[]): Promise<(boolean | undefined)[]> {
  const outcomes: (boolean | undefined)[] = [];
  const queue = [...pairs.entries()];
  const worker = async (): Promise<void> => {
    for (let next = queue.shift(); next; next = queue.shift()) outcomes[next[0]] = await askAgain(parts, next[1]);
  };
  await Promise.all(Array.from({ length: CEILING_CONCURRENCY }, worker));
  return outcomes;
}

async function askAgain(parts: CeilingParts, pair: JudgedPair): Promise<boolean | undefined> {
  const { teacher, task, turn, traceparent, signal } = parts;
  const request = {
    task: turn.task,
    taskDigest: turn.taskDigest,
    inputJson: pair.inputJson,
    purpose: Purpose.CEILING,
    runId: turn.runId,
  };
  const { outcome } = await teacher.ask(request, { timeoutMs: CEILING_TIMEOUT_MS, traceparent, signal });
  if (outcome.case === 'pair') return task.output.agreement(outcome.value.answerJson, pair.answer).whole;
  if (outcome.case === 'declined' && outcome.value.reason === DeclineReason.UNAVAILABLE) {
    // This goes into logs, and what a provider says may quote the input: the teacher gateway tells why it is away.
    throw new RetryableError('the teacher cannot be asked again: it is away', { afterMs: CEILING_RETRY_MS });
  }
  return undefined;
}
