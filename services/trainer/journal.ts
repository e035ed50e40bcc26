import type { Telemetry } from '@understudy/service/telemetry';
import { Counter, Histogram } from 'prom-client';
import type { Order } from './order.ts';
import type { End, Outcome } from './outcomes.ts';
import type { PlannedCandidate } from './search/plan.ts';
import type { Unlearnable } from './training/protocol.ts';

/** Turns what happens here into a log line and a metric, in one place. */
export class Journal {
  readonly #telemetry: Telemetry;
  readonly #students: Counter<'task' | 'family' | 'source'>;
  readonly #processes: Counter<'task' | 'family'>;
  readonly #candidates: Counter<'task' | 'family' | 'status'>;
  readonly #seconds: Histogram<'task' | 'family'>;

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry;
    const registers = [telemetry.metrics];
    this.#students = new Counter({
      name: 'understudy_students_total',
      help: 'Students told of: newly trained, or kept from an earlier search of the same snapshot.',
      labelNames: ['task', 'family', 'source'],
      registers,
    });
    this.#processes = new Counter({
      name: 'understudy_training_processes_total',
      help: 'Training processes started; more than candidates that ended means that some died or were stopped.',
      labelNames: ['task', 'family'],
      registers,
    });
    this.#candidates = new Counter({
      name: 'understudy_candidates_total',
      help: 'What became of the candidates of finished searches.',
      labelNames: ['task', 'family', 'status'],
      registers,
    });
    this.#seconds = new Histogram({
      name: 'understudy_training_seconds',
      help: 'Time that the training of a candidate took, in the process that finished it.',
      labelNames: ['task', 'family'],
      buckets: [1, 3, 10, 30, 100, 300, 1_000, 3_000],
      registers,
    });
  }

  started(order: Order, { name, candidate, threads }: PlannedCandidate, trainingPid: number | undefined): void {
    this.#processes.inc({ task: order.task, family: candidate.family });
    const { trainPairs, devPairs } = order.snapshot;
    const about = { ...aboutOf(order), candidate: name, threads, trainPairs, devPairs, trainingPid };
    this.#telemetry.log.info(about, 'training started');
  }

  checkpointRefused(order: Order, { name }: PlannedCandidate, reason: string): void {
    const about = { ...aboutOf(order), candidate: name, reason };
    this.#telemetry.log.warn(about, 'the checkpoint cannot be used, training starts over');
  }

  cacheLost(order: Order, { name }: PlannedCandidate, reason: string): void {
    const about = { ...aboutOf(order), candidate: name, reason };
    this.#telemetry.log.warn(
      about,
      'what the encoder gives for texts cannot be kept on disk: the next training will ask it again',
    );
  }

  unlearnable(order: Order, unlearnable: Unlearnable): void {
    const what =
      'answers that copy what is not in their text are left out of training, and count against students on dev';
    this.#telemetry.log.warn({ ...aboutOf(order), ...unlearnable }, what);
  }

  progressLost(order: Order, reason: string): void {
    this.#telemetry.log.warn({ ...aboutOf(order), reason }, 'training goes on, but its progress was not published');
  }

  clockLost(order: Order, reason: string): void {
    this.#telemetry.log.warn({ ...aboutOf(order), reason }, 'the time spent on the search was not kept');
  }

  crashed(order: Order, { name }: PlannedCandidate, reason: string): void {
    this.#telemetry.log.warn({ ...aboutOf(order), candidate: name, reason }, 'the training of a candidate crashed');
  }

  curvePointLost(order: Order, { name }: PlannedCandidate, reason: string): void {
    this.#telemetry.log.warn({ ...aboutOf(order), candidate: name, reason }, 'the learning curve lacks a point');
  }

  suspectsLost(order: Order, reason: string): void {
    this.#telemetry.log.warn({ ...aboutOf(order), reason }, 'nobody looked for suspicious pairs');
  }

  ended(order: Order, { name, candidate }: PlannedCandidate, end: End): void {
    const about = { ...aboutOf(order), candidate: name };
    if ('failed' in end) {
      this.#telemetry.log.warn({ ...about, reason: end.failed }, 'a candidate led to no student');
      return;
    }
    this.#seconds.observe({ task: order.task, family: candidate.family }, end.trained.trainingMs / 1_000);
    this.#telemetry.log.info({ ...about, ...end.trained }, 'candidate trained');
  }

  searched(order: Order, { family, chosen, candidates, searchMs }: Outcome): void {
    const { task } = order;
    this.#students.inc({ task, family, source: 'trained' });
    for (const one of candidates) this.#candidates.inc({ task, family: one.family, status: one.status });
    const ladder = candidates.map(({ name, status, reason }) => (reason ? `${name} ${status}: ${reason}` : name));
    this.#telemetry.log.info({ ...aboutOf(order), family, ...chosen, searchMs, ladder }, 'student trained');
  }

  reused(order: Order, { family, chosen }: Outcome): void {
    this.#students.inc({ task: order.task, family, source: 'kept' });
    this.#telemetry.log.info({ ...aboutOf(order), family, ...chosen }, 'the snapshot has a student already');
  }

  dropped(order: Order): void {
    this.#telemetry.log.info(aboutOf(order), 'the run was cancelled, its snapshot is not trained on');
  }
}

const aboutOf = ({ runId, task, seal, snapshot }: Order) => ({ runId, task, seal, snapshotDigest: snapshot.digest });
