import type { Deployment } from '@understudy/contract/deployer';
import type { Telemetry } from '@understudy/service/telemetry';
import { Counter, Gauge } from 'prom-client';
import type { Promotion } from './moves.ts';

/** Turns what happens here into a log line and a metric, in one place. */
export class Journal {
  readonly #telemetry: Telemetry;
  readonly #moves: Counter<'task' | 'move'>;
  readonly #generation: Gauge<'task'>;

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry;
    const registers = [telemetry.metrics];
    this.#moves = new Counter({
      name: 'understudy_deployment_moves_total',
      help: 'What became of reports and rollbacks: promoted, stands, late, demoted.',
      labelNames: ['task', 'move'],
      registers,
    });
    this.#generation = new Gauge({
      name: 'understudy_deployment_generation',
      help: 'Generation that this process last moved a task to.',
      labelNames: ['task'],
      registers,
    });
  }

  promoted({ kind, deployment }: Promotion): void {
    this.#note(kind === 'moved' ? 'promoted' : kind, deployment);
  }

  demoted(deployment: Deployment, reason: string): void {
    this.#note('demoted', deployment, reason);
  }

  #note(move: string, { task, generation, studentDigest, reportSequence }: Deployment, reason?: string): void {
    this.#moves.inc({ task, move });
    this.#generation.set({ task }, Number(generation));
    const facts = { task, move, generation: Number(generation), studentDigest, reportSequence: Number(reportSequence) };
    this.#telemetry.log.info({ ...facts, reason }, 'deployment');
  }
}
