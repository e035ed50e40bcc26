import { hear } from '@understudy/service/bus/broadcast';
import type { BusConnection } from '@understudy/service/bus/connection';
import type { Telemetry } from '@understudy/service/telemetry';
import { MAX_CANCELLED_RUNS } from './limits.ts';

/** Runs on which nothing shall be spent any more, and signals for those under way. */
export class Cancellations {
  readonly #runs = new Set<string>();
  readonly #underWay = new Map<string, AbortController>();
  #stop: () => Promise<void> = async () => {};

  start(bus: BusConnection, telemetry: Telemetry): void {
    this.#stop = hear(bus, telemetry, 'run.cancelled', ({ runId }) => this.#add(runId));
  }

  stop(): Promise<void> {
    return this.#stop();
  }

  has(runId: string): boolean {
    return this.#runs.has(runId);
  }

  /** Does work for a run with a signal that aborts as soon as the run is cancelled. */
  async during<T>(runId: string, work: (cancelled: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    this.#underWay.set(runId, controller);
    try {
      return await work(controller.signal);
    } finally {
      this.#underWay.delete(runId);
    }
  }

  #add(runId: string): void {
    this.#runs.add(runId);
    this.#underWay.get(runId)?.abort(new Error(`run ${runId} was cancelled`));
    const [oldest] = this.#runs;
    if (this.#runs.size > MAX_CANCELLED_RUNS && oldest !== undefined) this.#runs.delete(oldest);
  }
}
