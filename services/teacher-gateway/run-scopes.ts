import { type Hearing, hear } from '@understudy/service/bus/broadcast';
import type { BusConnection } from '@understudy/service/bus/connection';
import { RetryableError } from '@understudy/service/errors';
import type { Telemetry } from '@understudy/service/telemetry';
import { MAX_CANCELLED_RUNS } from './limits.ts';

/** Nothing shall be spent on this run any more. */
export class RunCancelled extends Error {
  override name = 'RunCancelled';
}

/** What ends the waiting of a prompt: its run was cancelled, or this replica drains. One signal a run, shared by its prompts. */
export class RunScopes {
  readonly #cancelled = new Set<string>();
  readonly #open = new Map<string, { controller: AbortController; users: number }>();
  #hearing: Hearing | undefined;
  #draining = false;

  /** Resolves when every cancellation so far is known. */
  async start(bus: BusConnection, telemetry: Telemetry): Promise<void> {
    this.#hearing = hear(bus, telemetry, 'run.cancelled', ({ runId }) => this.#cancel(runId));
    await this.#hearing.caughtUp;
  }

  async stop(): Promise<void> {
    await this.#hearing?.();
  }

  /** What waits gives up, so that other replicas take it. */
  drain(): void {
    this.#draining = true;
    for (const { controller } of this.#open.values()) controller.abort(draining());
  }

  /** The signal of a run; every `enter` needs a `leave`. */
  enter(runId: string): AbortSignal {
    const known = this.#open.get(runId);
    if (known) {
      known.users += 1;
      return known.controller.signal;
    }
    const controller = new AbortController();
    if (this.#draining) controller.abort(draining());
    else if (this.#cancelled.has(runId)) controller.abort(cancelled(runId));
    this.#open.set(runId, { controller, users: 1 });
    return controller.signal;
  }

  leave(runId: string): void {
    const known = this.#open.get(runId);
    if (!known) return;
    known.users -= 1;
    if (known.users === 0) this.#open.delete(runId);
  }

  #cancel(runId: string): void {
    this.#cancelled.add(runId);
    const [oldest] = this.#cancelled;
    if (this.#cancelled.size > MAX_CANCELLED_RUNS && oldest !== undefined) this.#cancelled.delete(oldest);
    this.#open.get(runId)?.controller.abort(cancelled(runId));
  }
}

const cancelled = (runId: string) => new RunCancelled(`run ${runId} was cancelled`);
const draining = () => new RetryableError('this replica stops');
