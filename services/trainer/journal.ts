import type { Telemetry } from '@understudy/service/telemetry';
import { Counter, Histogram } from 'prom-client';
import type { Order } from './order.ts';
import type { Trained } from './training/protocol.ts';

/** Turns what happens here into a log line and a metric, in one place. */
export class Journal {
  readonly #telemetry: Telemetry;
  readonly #students: Counter<'task' | 'source'>;
  readonly #processes: Counter<'task'>;
  readonly #seconds: Histogram<'task'>;

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry;
    const registers = [telemetry.metrics];
    this.#students = new Counter({
      name: 'understudy_students_total',
      help: 'Students told of: newly trained, or kept from an earlier training of the same snapshot.',
      labelNames: ['task', 'source'],
      registers,
    });
    this.#processes = new Counter({
      name: 'understudy_training_processes_total',
      help: 'Training processes started; more than students newly trained means that some died.',
      labelNames: ['task'],
      registers,
    });
    this.#seconds = new Histogram({
      name: 'understudy_training_seconds',
      help: 'Time that a training took, in the process that finished it.',
      labelNames: ['task'],
      buckets: [1, 3, 10, 30, 100, 300, 1_000, 3_000],
      registers,
    });
  }

  started(order: Order, trainingPid: number | undefined): void {
    this.#processes.inc({ task: order.task });
    const { trainPairs, devPairs } = order.snapshot;
    this.#telemetry.log.info({ ...about(order), trainPairs, devPairs, trainingPid }, 'training started');
  }

  checkpointRefused(order: Order, reason: string): void {
    this.#telemetry.log.warn({ ...about(order), reason }, 'the checkpoint cannot be used, training starts over');
  }

  progressLost(order: Order, reason: string): void {
    this.#telemetry.log.warn({ ...about(order), reason }, 'training goes on, but its progress was not published');
  }

  trained(order: Order, trained: Trained): void {
    this.#students.inc({ task: order.task, source: 'trained' });
    this.#seconds.observe({ task: order.task }, trained.trainingMs / 1_000);
    this.#telemetry.log.info({ ...about(order), ...trained }, 'student trained');
  }

  reused(order: Order, trained: Trained): void {
    this.#students.inc({ task: order.task, source: 'kept' });
    this.#telemetry.log.info({ ...about(order), ...trained }, 'the snapshot has a student already');
  }

  dropped(order: Order): void {
    this.#telemetry.log.info(about(order), 'the run was cancelled, its snapshot is not trained on');
  }
}

const about = ({ runId, task, seal, snapshot }: Order) => ({ runId, task, seal, snapshotDigest: snapshot.digest });
