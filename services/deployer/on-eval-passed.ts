import type { Event } from '@understudy/service/bus/settle';
import { traceparentOf } from '@understudy/service/telemetry';
import { checkServable } from './check-bundle.ts';
import { provenBy } from './check-report.ts';
import type { DeployerContext } from './context.ts';
import { promotionOf } from './moves.ts';

/**
 * Promotes a proven student. The event is a hint, not an order: what counts is the evaluator's own report. A report that
 * comes again moves nothing; where it stands already its promotion is told again, because the process may have died between
 * the move and the telling.
 */
export async function onEvalPassed(context: DeployerContext, event: Event<'eval.passed'>): Promise<void> {
  const { blobs, deployments, evaluator, journal, publisher, telemetry } = context;
  const { runId, task } = event.payload;
  const attributes = { 'understudy.run_id': runId, 'understudy.task': task };
  await telemetry.span('promote', event.traceparent, attributes, async (span) => {
    const { candidate, snapshotDigest } = await provenBy(evaluator, event);
    await checkServable(blobs, candidate, snapshotDigest);
    const promotion = await deployments.move(task, (current) => promotionOf(current, candidate, new Date()));
    journal.promoted(promotion);
    if (promotion.kind === 'late') return;
    const { taskDigest, studentDigest, policyDigest, reportDigest, generation } = promotion.deployment;
    await publisher.publish({
      type: 'student.promoted',
      entity: String(generation),
      payload: { runId, task, taskDigest, studentDigest, policyDigest, reportDigest, generation },
      traceparent: traceparentOf(span),
    });
  });
}
