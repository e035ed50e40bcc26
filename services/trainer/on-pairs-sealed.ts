import { join } from 'node:path';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { type CandidateSchema, CandidateStatus, type PayloadInit } from '@understudy/contract';
import type { Event } from '@understudy/service/bus/settle';
import { messageOf, TerminalError } from '@understudy/service/errors';
import { keepSigned } from '@understudy/service/signatures/statements';
import { type Span, traceparentOf } from '@understudy/service/telemetry';
import { studentStatement, type TrainingReport } from '@understudy/student';
import type { CompiledTask } from '@understudy/task';
import type { TrainerContext } from './context.ts';
import { HUB_TIMEOUT_MS, PROGRESS_INTERVAL_MS } from './limits.ts';
import { type Order, orderOf } from './order.ts';
import {
  type CandidateReport,
  checkpointName,
  forgetProgress,
  keepEnd,
  keepOutcome,
  keptEnd,
  keptOutcome,
  type Outcome,
} from './outcomes.ts';
import { placeOf } from './place.ts';
import { Clock } from './search/clock.ts';
import { curveOf } from './search/curve.ts';
import { type PinnedEncoder, pinEncoder } from './search/encoder.ts';
import { type Plan, type PlannedCandidate, planOf } from './search/plan.ts';
import { search } from './search/search.ts';
import { loadTask } from './task.ts';
import type { Job, Trained } from './training/protocol.ts';
import { trainInProcess } from './training/supervise.ts';

/**
 * Searches for the best student of the snapshot and tells of it. A snapshot that has a student keeps it: nothing is
 * trained again, and the same fact is told again. Nothing is told of a cancelled run.
 */
export async function onPairsSealed(context: TrainerContext, event: Event<'pairs.sealed'>): Promise<void> {
  const order = orderOf(event.payload);
  const { blobs, cancellations, journal, telemetry, machine } = context;
  if (cancellations.has(order.runId)) return journal.dropped(order);
  const attributes = { 'understudy.run_id': order.runId, 'understudy.task': order.task };
  await telemetry.span('train', event.traceparent, attributes, async (span) => {
    const task = await loadTask(blobs, order);
    const begunMs = performance.now();
    const plan = planOf(order, task, machine, await encoderOf(context, task, event.signal));
    const kept = await keptOutcome(blobs, plan.key);
    if (kept) journal.reused(order, kept);
    const outcome = kept ?? (await searchOrDrop(context, { order, plan, begunMs, span }, event.signal));
    if (outcome && !cancellations.has(order.runId)) await tell(context, order, outcome, span);
  });
}

/** What a search is about, and when it began by `performance.now()`. */
interface Given {
  readonly order: Order;
  readonly plan: Plan;
  readonly begunMs: number;
  readonly span: Span;
}

async function encoderOf(
  { blobs, config }: TrainerContext,
  { task: { training } }: CompiledTask,
  drained: AbortSignal,
): Promise<PinnedEncoder | undefined> {
  if (!training.encoder) return undefined;
  const timeout = AbortSignal.timeout(Math.min(HUB_TIMEOUT_MS, training.maxMinutes * 60_000));
  return await pinEncoder(training.encoder, {
    blobs,
    hubUrl: config.ENCODER_HUB_URL.replace(/\/$/, ''),
    encodersFolder: join(config.DATA_DIR, 'encoders'),
    signal: AbortSignal.any([drained, timeout]),
  });
}

/** Undefined when the run was cancelled meanwhile. */
async function searchOrDrop(context: TrainerContext, given: Given, drained: AbortSignal): Promise<Outcome | undefined> {
  const { blobs, cancellations, journal } = context;
  const { order, plan } = given;
  const keys = plan.ladder.map(({ key }) => key);
  try {
    const outcome = await cancellations.during(order.runId, (cancelled) =>
      searchInTime(context, given, AbortSignal.any([drained, cancelled])),
    );
    await keepOutcome(blobs, plan.key, keys, outcome);
    journal.searched(order, outcome);
    return outcome;
  } catch (error) {
    const cancelled = cancellations.has(order.runId);
    if (cancelled || error instanceof TerminalError) await forgetProgress(blobs, plan.key, keys);
    if (!cancelled) throw error;
    journal.dropped(order);
    return undefined;
  }
}

async function searchInTime(
  context: TrainerContext,
  { order, plan, begunMs, span }: Given,
  signal: AbortSignal,
): Promise<Outcome> {
  const { blobs, journal } = context;
  await using clock = await Clock.start({
    blobs,
    searchKey: plan.key,
    limitMs: plan.limitMs,
    begunMs,
    onNoteLost: (reason) => journal.clockLost(order, reason),
  });
  const train = (planned: PlannedCandidate, trainPairs: number | undefined, stopped: AbortSignal) =>
    trainCandidate(context, order, { planned, trainPairs, span }, stopped);
  const outcome = await search({
    plan,
    clock,
    signal,
    recall: ({ key }) => keptEnd(blobs, key),
    remember: async (planned, end) => {
      await keepEnd(blobs, planned.key, end);
      journal.ended(order, planned, end);
    },
    train: (planned, stopped) => train(planned, undefined, stopped),
    onCrash: (planned, reason) => journal.crashed(order, planned, reason),
  });
  const curve = await curveOf({
    plan,
    outcome,
    trainPairs: order.snapshot.trainPairs,
    clock,
    signal,
    train,
    onLost: (planned, reason) => journal.curvePointLost(order, planned, reason),
  });
  return { ...outcome, curve, searchMs: clock.spentMs };
}

function trainCandidate(
  context: TrainerContext,
  order: Order,
  { planned, trainPairs, span }: { planned: PlannedCandidate; trainPairs: number | undefined; span: Span },
  signal: AbortSignal,
): Promise<Trained> {
  const { config, rpcToken, journal, choice } = context;
  const job: Job = {
    order,
    candidate: planned.candidate,
    trainPairs,
    checkpoint: checkpointName(planned.key),
    cacheFolder: join(config.DATA_DIR, 'features'),
    threads: planned.threads,
    place: placeOf(planned.candidate.family, choice, config.TRAINER_DEVICE),
    blobs: config,
    pairStoreAddress: config.PAIR_STORE_ADDRESS,
    rpcToken,
    traceparent: traceparentOf(span),
  };
  return trainInProcess(job, {
    signal,
    onStart: (pid) => journal.started(order, planned, pid),
    onProgress: progressTeller(context, order, planned, span),
    onUnlearnable: (unlearnable) => journal.unlearnable(order, unlearnable),
    onCheckpointRefused: (reason) => journal.checkpointRefused(order, planned, reason),
  });
}

/** Tells of progress, not too often: it is for displays, and a fact that gets lost is only logged. */
function progressTeller(
  context: TrainerContext,
  order: Order,
  planned: PlannedCandidate,
  span: Span,
): (report: TrainingReport) => void {
  const { runId, task, taskDigest, seal } = order;
  const { name, candidate } = planned;
  let toldAt = Number.NEGATIVE_INFINITY;
  return ({ epoch, epochs, step, steps, loss, devAgreement }) => {
    const now = performance.now();
    if (now - toldAt < PROGRESS_INTERVAL_MS && step < steps) return;
    toldAt = now;
    const at = { epoch, epochs, step, steps, loss, devAgreement };
    const payload = { runId, task, taskDigest, family: candidate.family, candidate: name, ...at };
    const entity = `${seal}/${name}/${step}`;
    context.publisher
      .publish({ type: 'training.progressed', payload, entity, traceparent: traceparentOf(span) })
      .catch((error: unknown) => context.journal.progressLost(order, messageOf(error)));
  };
}

async function tell(context: TrainerContext, order: Order, outcome: Outcome, span: Span): Promise<void> {
  const { runId, task, taskDigest, seal, snapshot } = order;
  const { family, chosen, candidates, searchMs, curve } = outcome;
  const { studentDigest: digest, sizeBytes, devAgreement } = chosen;
  await keepSigned(context.blobs, context.signingKey, studentStatement({ studentDigest: digest, task, taskDigest }));
  const payload: PayloadInit<'student.trained'> = {
    ...{ runId, task, taskDigest, seal, snapshot },
    student: { digest, family, sizeBytes: BigInt(sizeBytes), devAgreement },
    trainingMs: BigInt(searchMs),
    candidates: candidates.map(candidateOf),
    curve: curve.map((point) => ({ ...point, trainingMs: BigInt(point.trainingMs) })),
  };
  await context.publisher.publish({
    type: 'student.trained',
    payload,
    entity: `${seal}/${snapshot.digest}`,
    traceparent: traceparentOf(span),
  });
}

const STATUS = {
  trained: CandidateStatus.TRAINED,
  failed: CandidateStatus.FAILED,
  skipped: CandidateStatus.SKIPPED,
  stopped: CandidateStatus.STOPPED,
};

function candidateOf({
  name,
  family,
  status,
  reason,
  onFront,
  trained,
}: CandidateReport): MessageInitShape<typeof CandidateSchema> {
  const about = { name, family, status: STATUS[status], reason, onFront };
  if (!trained) return about;
  const { pairs, covered, agreeing, margin } = trained.dev;
  return {
    ...about,
    hyperparameters: trained.hyperparameters,
    digest: trained.studentDigest,
    devAgreement: covered === 0 ? 0 : agreeing / covered,
    devCoverage: covered / pairs,
    devMargin: margin,
    sizeBytes: BigInt(trained.sizeBytes),
    latencyUs: BigInt(trained.latencyUs),
    trainingMs: BigInt(trained.trainingMs),
  };
}
