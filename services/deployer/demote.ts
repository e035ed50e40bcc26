import type { Deployment, Evidence } from '@understudy/contract/deployer';
import { taskDigest as digestOf, type Task, taskJson, withEpoch } from '@understudy/task';
import { type CanaryRound, lookAtTeacher } from './canaries.ts';
import type { DeployerContext } from './context.ts';
import { tellDrift } from './drift.ts';
import { move } from './move.ts';
import { demotionOf, POLICY } from './moves.ts';

/**
 * The audits raised an alarm: the teacher answers again. Before that it is asked the fixed prompts once more, because who changed decides what
 * a next run may learn from: where the teacher did, nothing that it said before.
 */
export async function demote(context: DeployerContext, deployment: Deployment, evidence: Evidence): Promise<void> {
  const told = `agreement fell: ${percent(evidence.agreement)} of ${evidence.checks} checked answers, goal ${percent(evidence.goal)}`;
  await demoteFor(context, deployment, await lookAtTeacher(context, deployment), told, evidence);
}

/** Back to the teacher, by a version of the task that takes it for another one where its answers have changed. */
export async function demoteFor(
  context: DeployerContext,
  deployment: Deployment,
  round: CanaryRound,
  why: string,
  evidence: Evidence | undefined,
): Promise<void> {
  const { task, servingGeneration } = deployment;
  const version = await context.standings.task(deployment.taskDigest);
  const next = round.changed ? await nextEpoch(context, version) : deployment.taskDigest;
  const reason = why === '' ? round.told : `${why}; ${round.told}`;
  const who = { author: POLICY, reason, evidence };
  // The teacher's fact goes first: whoever begins the next run must know it by then. Told in vain it costs a version of the task.
  if (round.changed) await tellDrift(context, deployment, round, true);
  await move(context, task, (current) => demotionOf(current, servingGeneration, next, who, new Date()));
}

async function nextEpoch({ blobs }: DeployerContext, version: Task): Promise<string> {
  const next = withEpoch(version, version.teacher.epoch + 1);
  await blobs.put('tasks', new TextEncoder().encode(taskJson(next)));
  return digestOf(next);
}

const percent = (share: number): string => `${(share * 100).toFixed(1)}%`;
