/** Shows a run while it goes on: a live list on a terminal, plain lines elsewhere. */

import { Verdict } from '@understudy/contract';
import { RunStage, type RunState } from '@understudy/contract/prompt';
import { messageOf } from '@understudy/service/errors';
import { type DefaultRenderer, Listr, type ListrTaskWrapper, type SimpleRenderer } from 'listr2';
import type { Output } from './output.ts';
import { AnswerRate, stageLine, stages } from './run-progress.ts';

export interface RunDisplay {
  update(run: RunState): void;
  /** Resolves when everything is shown. */
  end(): Promise<void>;
}

/** Plain lines are at least this far apart within a stage. */
const lineEveryMs = 5_000;

/** The display that fits where it is shown. */
export const displayFor = (output: Output): RunDisplay =>
  !output.json && process.stdout.isTTY ? new LiveDisplay() : new LineDisplay(output);

class LineDisplay implements RunDisplay {
  readonly #output: Output;
  readonly #rate = new AnswerRate();
  #stage: RunStage | undefined;
  #last: RunState | undefined;
  #lastLine = '';
  #lastLineMs = 0;

  constructor(output: Output) {
    this.#output = output;
  }

  update(run: RunState): void {
    const nowMs = performance.now();
    const rate = this.#rate.update(run, nowMs);
    if (run.stage !== this.#stage) {
      if (this.#stage !== undefined) this.#print(this.#stage, run, nowMs);
      this.#stage = run.stage;
      this.#print(run.stage, run, nowMs);
    } else if (nowMs - this.#lastLineMs >= lineEveryMs) {
      this.#print(run.stage, run, nowMs, rate);
    }
    this.#last = run;
  }

  async end(): Promise<void> {
    if (this.#last && this.#stage !== undefined) this.#print(this.#stage, this.#last, performance.now());
  }

  #print(stage: RunStage, run: RunState, nowMs: number, rate?: number): void {
    const line = stageLine(stage, run, rate);
    if (line === this.#lastLine) return;
    this.#output.note(line);
    this.#lastLine = line;
    this.#lastLineMs = nowMs;
  }
}

interface Shown {
  stage: RunStage;
  done: PromiseWithResolvers<void>;
  task?: ListrTaskWrapper<unknown, typeof DefaultRenderer, typeof SimpleRenderer>;
}

/** A list of the stages; a further batch begins a further list. */
class LiveDisplay implements RunDisplay {
  readonly #rate = new AnswerRate();
  #list: Shown[] = [];
  #running: Promise<unknown> = Promise.resolve();
  #stage: RunStage = RunStage.UNSPECIFIED;

  update(run: RunState): void {
    const rate = this.#rate.update(run, performance.now());
    if (this.#list.length === 0) this.#begin(run.stage);
    if (run.stage < this.#stage) {
      this.#fail('agreement is not proven yet: further prompts are asked');
      this.#begin(run.stage);
    }
    this.#stage = run.stage;
    for (const shown of this.#list) {
      if (shown.task && shown.stage <= run.stage) shown.task.title = stageLine(shown.stage, run, rate);
      if (shown.stage < run.stage && run.stage !== RunStage.FINISHED) shown.done.resolve();
    }
    if (run.stage !== RunStage.FINISHED) return;
    if (run.verdict === Verdict.PROMOTED || run.verdict === Verdict.PROVEN)
      for (const { done } of this.#list) done.resolve();
    else this.#fail(run.reason);
  }

  async end(): Promise<void> {
    this.#fail('not finished');
    await this.#running;
  }

  #begin(from: RunStage): void {
    this.#list = stages
      .filter(([stage]) => stage >= from)
      .map(([stage]) => ({ stage, done: Promise.withResolvers<void>() }));
    for (const { done } of this.#list) done.promise.catch(() => {});
    const tasks = this.#list.map((shown) => ({
      title: stages.find(([stage]) => stage === shown.stage)?.[1] ?? '',
      task: (_: unknown, task: NonNullable<Shown['task']>) => {
        shown.task = task;
        return shown.done.promise;
      },
    }));
    const listr = new Listr(tasks, {
      exitOnError: true,
      registerSignalListeners: false,
      rendererOptions: { collapseErrors: false },
    });
    this.#running = this.#running.then(() => listr.run()).catch((error) => messageOf(error));
  }

  #fail(reason: string): void {
    for (const { done } of this.#list) done.reject(new Error(reason));
  }
}
