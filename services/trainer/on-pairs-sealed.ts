import type { Event } from '@understudy/service/bus/settle';
import { messageOf, TerminalError } from '@understudy/service/errors';
import { type Span, traceparentOf } from '@understudy/service/telemetry';
import type { TrainingReport } from '@understudy/student';
import type { TrainerContext } from './context.ts';
import { PROGRESS_INTERVAL_MS } from './limits.ts';
import { type Order, orderOf } from './order.ts';
import { forgetCheckpoint, keepOutcome, keptOutcome } from './outcomes.ts';
import type { Job, Trained } from './training/protocol.ts';
import { trainInProcess } from './training/supervise.ts';

/**
 * Trains a student of the snapshot and tells of it. A snapshot that has a student keeps it: nothing is trained again,
 * and the same fact is told again. Nothing is told of a cancelled run.
 */
export async function onPairsSealed(context: TrainerContext, event: Event<'pairs.sealed'>): Promise<void> {
  const order = orderOf(event.payload);
  const { blobs, cancellations, journal, telemetry } = context;
  if (cancellations.has(order.runId)) return journal.dropped(order);
  const attributes = { 'understudy.run_id': order.runId, 'understudy.task': order.task };
  await telemetry.span('train', event.traceparent, attributes, async (span) => {
    const kept = await keptOutcome(blobs, order);
    if (kept) journal.reused(order, kept);
    const trained = kept ?? (await trainOrDrop(context, order, event.signal, span));
    if (trained && !cancellations.has(order.runId)) await tell(context, order, trained, span);
  });
}

/** Undefined when the run was cancelled meanwhile. */
async function trainOrDrop(
  context: TrainerContext,
  order: Order,
  drained: AbortSignal,
  span: Span,
): Promise<Trained | undefined> {
  const { blobs, cancellations, journal } = context;
  try {
    const trained = await cancellations.during(order.runId, (cancelled) =>
      train(context, order, AbortSignal.any([drained, cancelled]), span),
    );
    await keepOutcome(blobs, order, trained);
    journal.trained(order, trained);
    return trained;
  } catch (error) {
    const cancelled = cancellations.has(order.runId);
    if (cancelled || error instanceof TerminalError) await forgetCheckpoint(blobs, order);
    if (!cancelled) throw error;
    journal.dropped(order);
    return undefined;
  }
}

function train(context: TrainerContext, order: Order, signal: AbortSignal, span: Span): Promise<Trained> {
  const { config, rpcToken, journal } = context;
  const job: Job = {
    order,
    threads: config.TRAINING_THREADS,
    device: config.TRAINER_DEVICE,
    blobs: config,
    pairStoreAddress: config.PAIR_STORE_ADDRESS,
    rpcToken,
    traceparent: traceparentOf(span),
  };
  return trainInProcess(job, {
    signal,
    onStart: (pid) => journal.started(order, pid),
    onProgress: progressTeller(context, order, span),
    onCheckpointRefused: (reason) => journal.checkpointRefused(order, reason),
  });
}

/** Tells of progress, not too often: it is for displays, and a fact that gets lost is only logged. */
function progressTeller(context: TrainerContext, order: Order, span: Span): (report: TrainingReport) => void {
  const { runId, task, taskDigest, seal } = order;
  let toldAt = Number.NEGATIVE_INFINITY;
  return ({ epoch, epochs, step, steps, loss, devAgreement }) => {
    const now = performance.now();
    if (now - toldAt < PROGRESS_INTERVAL_MS && step < steps) return;
    toldAt = now;
    const payload = { runId, task, taskDigest, family: 'bag', epoch, epochs, step, steps, loss, devAgreement };
    context.publisher
      .publish({ type: 'training.progressed', payload, entity: `${seal}/${step}`, traceparent: traceparentOf(span) })
      .catch((error: unknown) => context.journal.progressLost(order, messageOf(error)));
  };
}

async function tell(context: TrainerContext, order: Order, trained: Trained, span: Span): Promise<void> {
  const { runId, task, taskDigest, seal, snapshot } = order;
  const { studentDigest: digest, family, sizeBytes, devAgreement, trainingMs } = trained;
  const student = { digest, family, sizeBytes: BigInt(sizeBytes), devAgreement };
  await context.publisher.publish({
    type: 'student.trained',
    payload: { runId, task, taskDigest, seal, snapshot, student, trainingMs: BigInt(trainingMs) },
    entity: `${seal}/${snapshot.digest}`,
    traceparent: traceparentOf(span),
  });
}
