import { timestampMs } from '@bufbuild/protobuf/wkt';
import { RetryableError } from '@understudy/service/errors';
import { type CompiledTask, type DeploymentPolicy, deploymentPolicyOf } from '@understudy/task';
import { beginOwn, objectionTo } from './begin.ts';
import type { PromptContext } from './context.ts';
import type { Run } from './run.ts';
import { isFinished } from './run-state.ts';

/** Runs that nobody asked for are known by their ids, and among them those that shall make a good student better. */
const OWN_ACCORD = 'auto-';
const BETTERING = 'pairs-';
const WEEK_MS = 7 * 24 * 60 * 60 * 1_000;
const MINUTE_MS = 60_000;

export type Permission = 'now' | 'under way' | 'spent' | { waitMs: number };

/**
 * Whether the policy lets a run begin by itself. A run of the task's newest version that is under way serves the reason as well. What counts
 * are the runs that are kept, so neither a crash nor a repetition gives one more. For new pairs a run begins only where no other reason has taken the
 * week's runs; those for new pairs take none from a student that fell.
 * @param occasion as `retrain` has it
 */
export function permissionFor(
  runs: readonly Run[],
  { task, digest }: { task: string; digest: string },
  occasion: string,
  { runsPerWeek, cooldownMinutes }: DeploymentPolicy['retrain'],
  nowMs: number,
): Permission {
  if (runs.some((run) => !isFinished(run) && run.state.taskDigest === digest)) return 'under way';
  const mayWait = occasion.startsWith(BETTERING);
  const begun = runs
    .filter(({ state }) => state.runId.startsWith(OWN_ACCORD))
    .map(({ state }) => ({
      startMs: state.startedAt ? timestampMs(state.startedAt) : 0,
      counts: mayWait || !state.runId.startsWith(runIdOf(task, BETTERING)),
    }))
    .filter(({ startMs }) => startMs > nowMs - WEEK_MS);
  if (begun.filter(({ counts }) => counts).length >= runsPerWeek) return 'spent';
  const restMs = Math.max(0, ...begun.map(({ startMs }) => startMs)) + cooldownMinutes * MINUTE_MS - nowMs;
  return restMs <= 0 ? 'now' : { waitMs: Math.min(restMs, cooldownMinutes * MINUTE_MS) };
}

const runIdOf = (task: string, occasion: string): string => `${OWN_ACCORD}${task}-${occasion}`;

/** The occasion of so many new pairs since the student of that generation. */
export const newPairsOccasion = (generation: bigint, times: number): string => `${BETTERING}${generation}-${times}`;

/**
 * Begins a run because something happened, as far as the task's policy allows.
 * @param occasion names what happened: the same occasion again is the same run
 * @throws RetryableError while the policy's cool-down lasts
 */
export async function retrain(
  context: PromptContext,
  compiled: CompiledTask,
  occasion: string,
  why: string,
): Promise<void> {
  const { task, digest } = compiled;
  const runId = runIdOf(task.name, occasion);
  if ((await context.runStore.get(runId)) !== undefined) return;
  const runs = (await context.runStore.list()).filter(({ state }) => state.task === task.name);
  const { retrain: policy } = deploymentPolicyOf(task);
  const permission = permissionFor(runs, { task: task.name, digest }, occasion, policy, Date.now());
  if (typeof permission === 'object') {
    throw new RetryableError(`deployment.retrain.cooldownMinutes of ${task.name} is not over`, {
      afterMs: permission.waitMs,
    });
  }
  if (permission !== 'now') {
    const became =
      permission === 'spent' ? 'none: deployment.retrain.runsPerWeek is spent' : 'none: a run is under way';
    context.journal.byPolicy(task.name, why, became);
    return;
  }
  const objection = await objectionTo(context, compiled, false);
  if (objection !== undefined) {
    context.journal.byPolicy(task.name, why, `none: ${objection}`);
    return;
  }
  await beginOwn(context, compiled, runId, undefined);
  context.journal.byPolicy(task.name, why, runId);
}
