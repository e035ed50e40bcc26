import { type AnswerAudited, AuditOutcome } from '@understudy/contract';
import type { Deployment } from '@understudy/contract/deployer';
import type { Telemetry } from '@understudy/service/telemetry';
import { Counter, Gauge } from 'prom-client';

/** Turns what happens here into a log line and a metric, in one place. */
export class Journal {
  readonly #telemetry: Telemetry;
  readonly #moves: Counter<'task' | 'move'>;
  readonly #generation: Gauge<'task'>;
  readonly #audits: Counter<'task' | 'outcome'>;
  readonly #canaries: Counter<'task' | 'answer'>;
  readonly #shift: Gauge<'task'>;

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry;
    const named = (name: string, help: string) => ({
      name: `understudy_${name}`,
      help,
      registers: [telemetry.metrics],
    });
    this.#moves = new Counter({
      ...named('deployment_moves_total', 'Moves of deployments, and what became of reports that moved nothing.'),
      labelNames: ['task', 'move'],
    });
    this.#generation = new Gauge({
      ...named('deployment_generation', 'Generation that this process last moved a task to.'),
      labelNames: ['task'],
    });
    this.#audits = new Counter({
      ...named('audits_total', 'Audits of answers by outcome, as they arrive.'),
      labelNames: ['task', 'outcome'],
    });
    this.#canaries = new Counter({
      ...named('canary_answers_total', "The teacher's answers to fixed prompts: same as before, or otherwise."),
      labelNames: ['task', 'answer'],
    });
    this.#shift = new Gauge({
      ...named('input_stability_index', 'Population stability index of the last window of confidences.'),
      labelNames: ['task'],
    });
  }

  /** A report that moved nothing: it stands, or came late. */
  passedOver(kind: 'stands' | 'late', deployment: Deployment): void {
    this.#note(kind, deployment);
  }

  moved(deployment: Deployment): void {
    this.#note(deployment.move?.action ?? 'moved', deployment);
  }

  toldAgain(deployment: Deployment): void {
    this.#note('told-again', deployment);
  }

  refused(task: string, reason: string): void {
    this.#moves.inc({ task, move: 'refused' });
    this.#telemetry.log.warn({ task, reason }, 'a report was refused');
  }

  audited(task: string, audits: readonly AnswerAudited[]): void {
    for (const { outcome } of audits) this.#audits.inc({ task, outcome: AuditOutcome[outcome].toLowerCase() });
  }

  canaries(task: string, { asked, otherwise }: { asked: number; otherwise: number }, changed: boolean): void {
    this.#canaries.inc({ task, answer: 'otherwise' }, otherwise);
    this.#canaries.inc({ task, answer: 'same' }, asked - otherwise);
    this.#telemetry.log.info({ task, asked, otherwise, changed }, 'the teacher was asked fixed prompts again');
  }

  canariesFailed(task: string, error: string): void {
    this.#telemetry.log.warn({ task, error }, 'the teacher could not be asked fixed prompts again');
  }

  gathered(task: string, reason: string): void {
    this.#telemetry.log.info({ task, reason }, 'enough new pairs for another student');
  }

  pairsUncounted(task: string, error: string): void {
    this.#telemetry.log.warn({ task, error }, 'new pairs could not be counted');
  }

  drifted(task: string, reason: string): void {
    this.#telemetry.log.warn({ task, reason }, 'alarm: the teacher has changed');
  }

  shifted(task: string, index: number): void {
    this.#shift.set({ task }, index);
    this.#telemetry.log.warn({ task, index }, 'alarm: clients ask other things than before');
  }

  #note(move: string, { task, generation, studentDigest, reportSequence, challenger, move: made }: Deployment): void {
    this.#moves.inc({ task, move });
    this.#generation.set({ task }, Number(generation));
    const facts = { task, move, generation: Number(generation), studentDigest, reportSequence: Number(reportSequence) };
    const { reason, author } = made ?? {};
    this.#telemetry.log.info({ ...facts, reason, author, challenger: challenger?.studentDigest }, 'deployment');
  }
}
