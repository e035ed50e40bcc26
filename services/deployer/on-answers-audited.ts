import { type AnswerAudited, AuditOutcome, type ConfidencesCounted } from '@understudy/contract';
import type { Deployment } from '@understudy/contract/deployer';
import type { Event } from '@understudy/service/bus/settle';
import type { DeployerContext } from './context.ts';
import { demote } from './demote.ts';
import { noticeFingerprint } from './drift.ts';
import { evidenceOf, FORWARD_LEVEL, judge, shownLevel } from './judge.ts';
import { move } from './move.ts';
import { canaryAgainOf, dropOf, POLICY, stageName, stepOf } from './moves.ts';
import { onConfidencesCounted } from './on-confidences-counted.ts';
import { placesOf, subjectOf, type Watch, watched } from './watch.ts';

/** Weighs what the gateways saw, task by task. */
export async function onTraffic(context: DeployerContext, events: readonly Event[]): Promise<void> {
  const tasks = new Map<string, { audits: AnswerAudited[]; counted: ConfidencesCounted[] }>();
  for (const { type, payload } of events as readonly (Event<'answer.audited'> | Event<'confidences.counted'>)[]) {
    const facts = tasks.get(payload.task) ?? { audits: [], counted: [] };
    tasks.set(payload.task, facts);
    if (type === 'answer.audited') facts.audits.push(payload as AnswerAudited);
    else facts.counted.push(payload as ConfidencesCounted);
  }
  for (const [task, { audits, counted }] of tasks) {
    if (audits.length > 0) await onAnswersAudited(context, task, audits);
    for (const fact of counted) await onConfidencesCounted(context, fact);
  }
}

/**
 * Counts checked answers and moves the deployment where they say enough. The counting is one compare-and-set, and each move names the
 * generation that it is about: whoever dies in between counts nothing twice and decides anew, and of two that decide one wins.
 */
async function onAnswersAudited(
  context: DeployerContext,
  task: string,
  audits: readonly AnswerAudited[],
): Promise<void> {
  const deployment = await context.deployments.get(task);
  if (deployment === undefined) return;
  const { goal } = await context.standings.bar(deployment.taskDigest);
  const { watch } = await context.watches.update(task, (before) => ({
    watch: watched(before, placesOf(deployment, goal), audits),
  }));
  context.journal.audited(task, audits);
  await noticeFingerprint(context, deployment, audits);
  await judgeChallenger(context, deployment, watch);
  await judgeServing(context, deployment, watch, audits, goal);
}

async function judgeChallenger(context: DeployerContext, deployment: Deployment, watch: Watch): Promise<void> {
  const { challenger, task } = deployment;
  const subject = subjectOf(watch, challenger);
  if (!challenger || !subject) return;
  const { stage, generation } = challenger;
  const bar = await context.standings.bar(challenger.taskDigest);
  const judgement = judge(stage, subject, bar);
  if (judgement === undefined) return;
  const evidence = evidenceOf(challenger, subject, bar.goal, shownLevel(stage));
  const told = `${percent(evidence.agreement)} of ${subject.checks} checked answers in ${stageName({ stage })}`;
  const expected = { challenger: generation };
  const now = new Date();
  if (judgement === 'back') {
    const reason = `agreement ${told}, surely below the goal of ${percent(bar.goal)}`;
    await move(context, task, (current) =>
      dropOf(current, expected, 'dropped', { author: POLICY, reason, evidence }, now),
    );
    return;
  }
  const level = FORWARD_LEVEL[stage as keyof typeof FORWARD_LEVEL];
  const reason = `agreement ${told}, at least ${percent(evidence.lowerBound)} at level ${level}; ${percent(bar.goal - bar.tolerance)} are asked for`;
  const plan = await context.standings.plan(challenger.taskDigest, deployment);
  await move(context, task, (current) => stepOf(current, expected, plan, { author: POLICY, reason, evidence }, now));
}

async function judgeServing(
  context: DeployerContext,
  deployment: Deployment,
  watch: Watch,
  audits: readonly AnswerAudited[],
  goal: number,
): Promise<void> {
  const { servingGeneration, studentDigest, task, taskDigest } = deployment;
  const place = { studentDigest, generation: servingGeneration };
  const subject = studentDigest === '' ? undefined : subjectOf(watch, place);
  if (!subject) return;
  if (subject.detector?.alarmed) {
    const evidence = evidenceOf(place, subject, goal, shownLevel(undefined));
    await demote(context, deployment, evidence);
    return;
  }
  const spent = audits.find(
    (audit) => audit.outcome === AuditOutcome.BUDGET_SPENT && audit.servingGeneration === servingGeneration,
  );
  if (!spent) return;
  const plan = await context.standings.plan(taskDigest, deployment);
  const who = {
    author: POLICY,
    reason: 'the budget for audits (live.audit) is spent, so nobody would see the student fall',
  };
  await move(context, task, (current) => canaryAgainOf(current, servingGeneration, plan, who, new Date()));
}

const percent = (share: number): string => `${(share * 100).toFixed(1)}%`;
