import { DeclineReason, type TeacherKind } from '@understudy/contract';
import type { Telemetry } from '@understudy/service/telemetry';
import { Counter, Histogram } from 'prom-client';

/** What happens in this service, as counters and log lines. Texts of prompts and answers are not among it. */
export class Events {
  readonly #log: Telemetry['log'];
  readonly #calls: Counter<'kind' | 'result'>;
  readonly #seconds: Histogram<'kind'>;
  readonly #spentMicroUsd: Counter<'kind'>;
  readonly #outcomes: Counter<'kind' | 'outcome'>;
  readonly #refused: Counter<'kind' | 'reason'>;

  constructor({ log, metrics }: Telemetry) {
    this.#log = log;
    const registers = [metrics];
    this.#calls = new Counter({
      name: 'understudy_teacher_calls_total',
      help: 'Calls to teachers by kind and result.',
      labelNames: ['kind', 'result'],
      registers,
    });
    this.#seconds = new Histogram({
      name: 'understudy_teacher_call_seconds',
      help: 'Duration of calls to teachers.',
      labelNames: ['kind'],
      registers,
    });
    this.#spentMicroUsd = new Counter({
      name: 'understudy_teacher_spent_micro_usd_total',
      help: 'What calls to teachers cost, in millionths of a US dollar.',
      labelNames: ['kind'],
      registers,
    });
    this.#outcomes = new Counter({
      name: 'understudy_prompts_total',
      help: 'Prompts by kind of teacher and outcome.',
      labelNames: ['kind', 'outcome'],
      registers,
    });
    this.#refused = new Counter({
      name: 'understudy_teacher_answers_refused_total',
      help: "Answers that were none of the task's, by kind of teacher and what was wrong with them.",
      labelNames: ['kind', 'reason'],
      registers,
    });
  }

  called(kind: TeacherKind, result: string, durationMs: number, spentMicroUsd: number): void {
    this.#calls.inc({ kind, result });
    this.#seconds.observe({ kind }, durationMs / 1_000);
    if (spentMicroUsd > 0) this.#spentMicroUsd.inc({ kind }, spentMicroUsd);
  }

  /** An answer came, but not one of the task. */
  answerRefused(kind: TeacherKind, reason: string): void {
    this.#refused.inc({ kind, reason });
  }

  answered(kind: TeacherKind, cached: boolean): void {
    this.#outcomes.inc({ kind, outcome: cached ? 'found' : 'answered' });
  }

  declined(kind: TeacherKind, reason: DeclineReason, facts: object): void {
    this.#outcomes.inc({ kind, outcome: DeclineReason[reason].toLowerCase() });
    this.#log.warn({ ...facts, reason: DeclineReason[reason] }, 'declined');
  }

  attemptFailed(facts: object): void {
    this.#log.debug(facts, 'an attempt gave no answer');
  }
}
