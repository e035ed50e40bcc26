import { Verdict } from '@understudy/contract';
import { RunStage } from '@understudy/contract/prompt';
import type { Telemetry } from '@understudy/service/telemetry';
import { Counter } from 'prom-client';
import type { Run } from './run.ts';

/** Turns what happens here into a log line and a metric, in one place. */
export class Journal {
  readonly #telemetry: Telemetry;
  readonly #started: Counter<'task'>;
  readonly #submitted: Counter<'task'>;
  readonly #finished: Counter<'task' | 'verdict'>;

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry;
    const registers = [telemetry.metrics];
    this.#started = new Counter({
      name: 'understudy_runs_started_total',
      help: 'Runs that began here.',
      labelNames: ['task'],
      registers,
    });
    this.#submitted = new Counter({
      name: 'understudy_prompts_submitted_total',
      help: 'Prompts stored on the bus, repetitions after a crash included.',
      labelNames: ['task'],
      registers,
    });
    this.#finished = new Counter({
      name: 'understudy_runs_finished_total',
      help: 'Runs that came to their verdict.',
      labelNames: ['task', 'verdict'],
      registers,
    });
  }

  started({ state, ownPrompts }: Run): void {
    this.#started.inc({ task: state.task });
    this.#telemetry.log.info({ runId: state.runId, task: state.task, ownPrompts }, 'run started');
  }

  resumed({ state }: Run): void {
    this.#telemetry.log.info({ runId: state.runId, task: state.task, stage: RunStage[state.stage] }, 'run goes on');
  }

  submitted({ state }: Run, prompts: number): void {
    this.#submitted.inc({ task: state.task }, prompts);
  }

  changed(before: Run, after: Run): void {
    const { runId, task, stage, verdict, reason } = after.state;
    if (before.state.stage === stage) return;
    const facts = { runId, task, stage: RunStage[stage] };
    if (stage !== RunStage.FINISHED) {
      this.#telemetry.log.info(facts, 'run reached a stage');
      return;
    }
    this.#finished.inc({ task, verdict: Verdict[verdict] });
    this.#telemetry.log.info({ ...facts, verdict: Verdict[verdict], reason }, 'run finished');
  }

  /** A run that nobody asked for, or why there is none. */
  byPolicy(task: string, why: string, became: string): void {
    this.#telemetry.log.info({ task, why, became }, 'the policy asks for a run');
  }

  stepFailed(runId: string, error: string): void {
    this.#telemetry.log.warn({ runId, error }, 'a step of a run failed, it is tried again');
  }
}
