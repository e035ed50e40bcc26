import type { Decision } from '@understudy/contract/pair-store';
import type { Telemetry } from '@understudy/service/telemetry';
import { Counter, Histogram } from 'prom-client';
import type { Manifest } from './snapshot/manifest.ts';
import type { Sealable } from './store/batches.ts';

/** Turns what happens here into a log line and a metric, in one place. */
export class Journal {
  readonly #telemetry: Telemetry;
  readonly #outcomes: Counter<'task' | 'outcome'>;
  readonly #snapshots: Counter<'task'>;
  readonly #seconds: Histogram;

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry;
    const registers = [telemetry.metrics];
    this.#outcomes = new Counter({
      name: 'understudy_outcomes_total',
      help: 'Answers and declines recorded, repetitions included, and answers that came too late.',
      labelNames: ['task', 'outcome'],
      registers,
    });
    this.#snapshots = new Counter({
      name: 'understudy_snapshots_total',
      help: 'Snapshots sealed.',
      labelNames: ['task'],
      registers,
    });
    this.#seconds = new Histogram({
      name: 'understudy_seal_seconds',
      help: 'Time that writing a snapshot took.',
      buckets: [0.03, 0.1, 0.3, 1, 3, 10, 30, 100],
      registers,
    });
  }

  recorded(task: string, answered: number, declined: number): void {
    this.#outcomes.inc({ task, outcome: 'answered' }, answered);
    this.#outcomes.inc({ task, outcome: 'declined' }, declined);
  }

  /** Answers that came after their run had been told that there is none. */
  late(task: string, answers: number): void {
    if (answers === 0) return;
    this.#outcomes.inc({ task, outcome: 'late' }, answers);
    this.#telemetry.log.warn({ task, answers }, 'answers to prompts that were declined before are not kept');
  }

  settled(task: string, { decisionId, promptId, author, reason }: Decision): void {
    this.#telemetry.log.info({ task, decisionId, promptId, author, reason }, 'settled');
  }

  /** Ids and counts alone: the log outlives what is erased. */
  erased(task: string, erasureId: string, counts: Readonly<Record<string, number>>): void {
    this.#telemetry.log.info({ task, erasureId, ...counts }, 'erased');
  }

  removedLate(type: string): void {
    this.#telemetry.log.info({ type }, 'a message with a forgotten input was taken off the bus');
  }

  sealed({ run_id: runId, task, seal }: Sealable, snapshot: string, { splits, leftOut }: Manifest, ms: number): void {
    this.#snapshots.inc({ task });
    this.#seconds.observe(ms / 1_000);
    this.#telemetry.log.info({ runId, task, seal, snapshot, ...splits, ...leftOut, ms: Math.round(ms) }, 'sealed');
  }
}
