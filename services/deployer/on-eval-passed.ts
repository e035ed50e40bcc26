import { create } from '@bufbuild/protobuf';
import { DecisionSchema } from '@understudy/contract/deployer';
import type { Event } from '@understudy/service/bus/settle';
import { TerminalError } from '@understudy/service/errors';
import { traceparentOf } from '@understudy/service/telemetry';
import { sha256Hex } from '@understudy/task';
import { checkServable } from './check-bundle.ts';
import { provenBy } from './check-report.ts';
import { checkSigned } from './check-signed.ts';
import type { DeployerContext } from './context.ts';
import { MAX_REFUSAL_CHARACTERS } from './limits.ts';
import { POLICY, type Promotion, promotionOf } from './moves.ts';
import { barIfQuarantined, isQuarantined } from './quarantine.ts';
import { tell } from './tell.ts';

/**
 * Sets a proven student on its way. The event is a hint, not an order: what counts is the evaluator's own report. A report that
 * comes again moves nothing; where it stands already its move is told again, because the process may have died between
 * the move and the telling.
 */
export async function onEvalPassed(context: DeployerContext, event: Event<'eval.passed'>): Promise<void> {
  const { runId, task } = event.payload;
  const attributes = { 'understudy.run_id': runId, 'understudy.task': task };
  try {
    await context.telemetry.span('promote', event.traceparent, attributes, (span) =>
      promote(context, event, traceparentOf(span)),
    );
  } catch (error) {
    if (error instanceof TerminalError) await keepRefusal(context, event, error.message);
    throw error;
  }
}

async function promote(context: DeployerContext, event: Event<'eval.passed'>, traceparent: string): Promise<void> {
  const { blobs, deployments, evaluator, journal, standings } = context;
  const { task } = event.payload;
  const { candidate, snapshotDigest } = await provenBy(evaluator, event);
  await checkSigned(context, candidate);
  await checkServable(blobs, candidate, snapshotDigest);
  if (await isQuarantined(context, task, candidate.studentDigest)) {
    // Whoever promoted it may have died before looking once more, and this is the report that came again.
    await barIfQuarantined(context, task, candidate.studentDigest);
    throw new TerminalError(
      `student ${candidate.studentDigest} is quarantined: it learnt from inputs that are forgotten`,
    );
  }
  let promotion: Promotion;
  do {
    const plan = await standings.plan(candidate.taskDigest, await deployments.get(task));
    promotion = await deployments.move(task, (current) => promotionOf(current, candidate, plan, new Date()));
  } while (promotion.kind === 'replan');
  if (promotion.kind === 'moved') journal.moved(promotion.deployment);
  else journal.passedOver(promotion.kind, promotion.deployment);
  if (promotion.kind !== 'late') await tell(context, promotion.deployment, traceparent);
  await barIfQuarantined(context, task, candidate.studentDigest);
}

/** A student that was not let through, and why, is part of a task's history. */
async function keepRefusal(context: DeployerContext, event: Event<'eval.passed'>, reason: string): Promise<void> {
  const { task, taskDigest, runId, summary } = event.payload;
  context.journal.refused(task, reason);
  const decision = create(DecisionSchema, {
    task,
    id: `refused-${sha256Hex(event.id).slice(0, 32)}`,
    action: 'refused',
    author: POLICY,
    reason: reason.slice(0, MAX_REFUSAL_CHARACTERS),
    taskDigest,
    runId: runId.slice(0, MAX_ID_CHARACTERS),
    studentDigest: summary?.studentDigest.slice(0, MAX_ID_CHARACTERS) ?? '',
    policyDigest: summary?.policyDigest.slice(0, MAX_ID_CHARACTERS) ?? '',
    reportDigest: summary?.reportDigest.slice(0, MAX_ID_CHARACTERS) ?? '',
  });
  await context.decisions.keep(decision);
}

/** Of a SHA-256 in hex; what a forger wrote may be longer. */
const MAX_ID_CHARACTERS = 64;
