import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '@understudy/service/errors';
import type { StepContext } from './context.ts';
import { CONTACT_GAP_MS, IDLE_POLL_MS, RETRY_STEP_MS } from './limits.ts';
import type { Command, Run, RunFact } from './run.ts';
import { advance, commandsOf, isFinished } from './run-state.ts';
import { announce, choose, close, look, type Step, sample, submit } from './steps.ts';

interface Follower {
  wake: AbortController;
  done: Promise<void>;
}

/**
 * Runs at work. What a run is stands in the store; a follower for each unfinished one carries out what it wants,
 * counts its answers and watches its deadlines. One process at a time: a second would publish everything twice.
 */
export class Runs {
  readonly #context: StepContext;
  readonly #followers = new Map<string, Follower>();
  readonly #stopping = new AbortController();
  /** Sampling holds a whole sample in memory, so one run does it at a time. */
  #sampling: Promise<void> = Promise.resolve();

  constructor(context: StepContext) {
    this.#context = context;
  }

  get active(): number {
    return this.#followers.size;
  }

  /** Takes up what an earlier process left unfinished. */
  async resume(): Promise<void> {
    for (const run of await this.#context.runStore.list()) {
      if (isFinished(run) && run.announce.length === 0) continue;
      this.#context.journal.resumed(run);
      this.#follow(run.state.runId);
    }
  }

  /** Keeps and follows a new run; where its id is taken, the run that has it. */
  async begin(run: Run): Promise<Run> {
    const { run: kept, created } = await this.#context.runStore.create(run);
    if (created) this.#context.journal.started(run);
    this.#follow(run.state.runId);
    return kept;
  }

  /** Tells a run a fact. Resolves, once that is durable, with the run after it; undefined for an unknown run. */
  async tell(runId: string, fact: RunFact): Promise<Run | undefined> {
    const around = { nowMs: Date.now(), graceMs: this.#context.config.STAGE_GRACE_MS };
    const change = await this.#context.runStore.update(runId, (run) => advance(run, fact, around));
    if (change === undefined) return undefined;
    this.#context.journal.changed(change.before, change.after);
    if (change.before.state.stage !== change.after.state.stage) this.#followers.get(runId)?.wake.abort();
    return change.after;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all([...this.#followers.values()].map(({ done }) => done));
  }

  #follow(runId: string): void {
    if (this.#followers.has(runId) || this.#stopping.signal.aborted) return;
    const follower: Follower = { wake: new AbortController(), done: Promise.resolve() };
    this.#followers.set(runId, follower);
    follower.done = this.#loop(runId, follower).finally(() => this.#followers.delete(runId));
  }

  async #loop(runId: string, follower: Follower): Promise<void> {
    let seenMs = 0;
    while (!this.#stopping.signal.aborted) {
      follower.wake = new AbortController();
      let readable = false;
      try {
        let run = await this.#context.runStore.get(runId);
        if (run !== undefined && Date.now() - seenMs > CONTACT_GAP_MS)
          run = await this.tell(runId, { type: 'resumed' });
        seenMs = Date.now();
        readable = true;
        if (run === undefined) return;
        const command = commandsOf(run)[0];
        if (command === undefined && isFinished(run)) return;
        const step = this.#stepOf(run, follower);
        if (command !== undefined) await this.#carryOut(command, step);
        else {
          await look(step);
          await this.#pause(IDLE_POLL_MS, follower);
        }
      } catch (error) {
        if (this.#signalOf(follower).aborted) continue;
        this.#context.journal.stepFailed(runId, messageOf(error));
        await this.#pause(RETRY_STEP_MS, follower);
        if (readable) await this.#checkDeadline(runId);
      }
    }
  }

  /** A step that keeps failing is repeated until its stage's deadline, no longer. */
  async #checkDeadline(runId: string): Promise<void> {
    try {
      await this.tell(runId, { type: 'tick' });
    } catch (error) {
      this.#context.journal.stepFailed(runId, messageOf(error));
    }
  }

  async #carryOut(command: Command, step: Step): Promise<void> {
    switch (command.type) {
      case 'sample': {
        const turn = this.#sampling.then(() => sample(step));
        this.#sampling = turn.catch(() => {});
        return turn;
      }
      case 'choose':
        return choose(step, command.batch);
      case 'submit':
        return submit(step, command.batch);
      case 'close':
        return close(step, command.batch);
      case 'announce':
        return announce(step, command.announcement);
    }
  }

  #stepOf(run: Run, follower: Follower): Step {
    return {
      context: this.#context,
      run,
      signal: this.#signalOf(follower),
      tell: async (fact) => (await this.tell(run.state.runId, fact)) ?? run,
    };
  }

  /** Cut short when the run leaves its stage. */
  async #pause(ms: number, follower: Follower): Promise<void> {
    await sleep(ms, undefined, { signal: this.#signalOf(follower) }).catch(() => {});
  }

  #signalOf({ wake }: Follower): AbortSignal {
    return AbortSignal.any([wake.signal, this.#stopping.signal]);
  }
}
