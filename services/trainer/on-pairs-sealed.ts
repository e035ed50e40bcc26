import { join } from 'node:path';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { type CandidateSchema, CandidateStatus, type PayloadInit } from '@understudy/contract';
import type { Event } from '@understudy/service/bus/settle';
import { messageOf, TerminalError } from '@understudy/service/errors';
import { keepSigned } from '@understudy/service/signatures/statements';
import { type Span, traceparentOf } from '@understudy/service/telemetry';
import { studentStatement, type TrainingReport } from '@understudy/student';
import { type CompiledTask, sha256Hex } from '@understudy/task';
import type { TrainerContext } from './context.ts';
import { CandidateError } from './errors.ts';
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
import { findInProcess, type Supervision, trainInProcess } from './training/supervise.ts';

/** Folder of what encoders gave for texts. */
export const FEATURES = 'features';

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
    const outcome =
      kept ?? (await searchOrDrop(context, { order, plan, begunMs, span, ...task.task.training }, event.signal));
    if (outcome && !cancellations.has(order.runId)) await tell(context, order, outcome, span);
  });
}

/** What a search is about, and when it began by `performance.now()`. */
interface Given {
  readonly order: Order;
  readonly plan: Plan;
  readonly begunMs: number;
  readonly span: Span;
  /** Whether suspects are looked for, with the first rung. */
  readonly findSuspects: boolean;
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

async function searchInTime(context: TrainerContext, given: Given, signal: AbortSignal): Promise<Outcome> {
  const { order, plan, begunMs, span } = given;
  const { blobs, journal } = context;
  await using clock = await Clock.start({
    blobs,
    searchKey: plan.key,
    limitMs: plan.limitMs,
    begunMs,
    onNoteLost: (reason) => journal.clockLost(order, reason),
  });
  const train = (planned: PlannedCandidate, trainPairs: number | undefined, stopped: AbortSignal) =>
    trainCandidate(context, order, { planned, trainPairs, acrossFolds: false, span }, stopped);
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
  const found = { ...outcome, curve };
  const foldsDigest = await suspectsOf(context, given, clock, signal);
  return { ...found, ...(foldsDigest === undefined ? {} : { foldsDigest }), searchMs: clock.spentMs };
}

/** Where the task asks for suspects and time is left. They decide nothing: without them the student is told all the same. */
async function suspectsOf(
  context: TrainerContext,
  { order, plan, span, findSuspects }: Given,
  clock: Clock,
  signal: AbortSignal,
): Promise<string | undefined> {
  const [cheapest] = plan.ladder;
  if (!findSuspects || !cheapest || clock.isOver) return undefined;
  const planned = { ...cheapest, name: `${cheapest.name}, across folds`, key: sha256Hex(`folds\n${cheapest.key}`) };
  const late = new AbortController();
  void clock.over.then(() => late.abort(new Error('the time for training was over')));
  const given = { planned, trainPairs: undefined, acrossFolds: true, span };
  try {
    const ends = AbortSignal.any([signal, late.signal]);
    return await findInProcess(jobOf(context, order, given), supervisionOf(context, order, given, ends));
  } catch (error) {
    signal.throwIfAborted();
    const lost = error instanceof CandidateError || error instanceof TerminalError || late.signal.aborted;
    if (!lost) throw error;
    context.journal.suspectsLost(order, messageOf(error));
    return undefined;
  }
}

/** One training in a process of its own. */
interface Training {
  readonly planned: PlannedCandidate;
  readonly trainPairs: number | undefined;
  readonly acrossFolds: boolean;
  readonly span: Span;
}

function trainCandidate(
  context: TrainerContext,
  order: Order,
  training: Training,
  signal: AbortSignal,
): Promise<Trained> {
  return trainInProcess(jobOf(context, order, training), supervisionOf(context, order, training, signal));
}

function jobOf(
  { config, rpcToken, choice }: TrainerContext,
  order: Order,
  { planned, trainPairs, acrossFolds, span }: Training,
): Job {
  return {
    order,
    candidate: planned.candidate,
    trainPairs,
    acrossFolds,
    checkpoint: checkpointName(planned.key),
    cacheFolder: join(config.DATA_DIR, FEATURES),
    threads: planned.threads,
    place: placeOf(planned.candidate.family, choice, config.TRAINER_DEVICE),
    blobs: config,
    pairStoreAddress: config.PAIR_STORE_ADDRESS,
    rpcToken,
    traceparent: traceparentOf(span),
  };
}

function supervisionOf(
  context: TrainerContext,
  order: Order,
  { planned, span }: Training,
  signal: AbortSignal,
): Supervision {
  const { journal } = context;
  return {
    signal,
    onStart: (pid) => journal.started(order, planned, pid),
    onProgress: progressTeller(context, order, planned, span),
    onUnlearnable: (unlearnable) => journal.unlearnable(order, unlearnable),
    onCacheLost: (reason) => journal.cacheLost(order, planned, reason),
    onCheckpointRefused: (reason) => journal.checkpointRefused(order, planned, reason),
  };
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
  const { family, chosen, candidates, searchMs, curve, foldsDigest = '' } = outcome;
  const { studentDigest: digest, sizeBytes, devAgreement } = chosen;
  await keepSigned(context.blobs, context.signingKey, studentStatement({ studentDigest: digest, task, taskDigest }));
  const payload: PayloadInit<'student.trained'> = {
    ...{ runId, task, taskDigest, seal, snapshot, foldsDigest },
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
