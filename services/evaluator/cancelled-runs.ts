import { hear } from '@understudy/service/bus/broadcast';
import type { BusConnection } from '@understudy/service/bus/connection';
import type { Telemetry } from '@understudy/service/telemetry';
import { MAX_CANCELLED_RUNS } from './limits.ts';

/** Runs on which nothing shall be spent any more. */
export class CancelledRuns {
  readonly #runs = new Set<string>();
  #stop: () => Promise<void> = async () => {};

  start(bus: BusConnection, telemetry: Telemetry): void {
    this.#stop = hear(bus, telemetry, 'run.cancelled', ({ runId }) => this.#add(runId));
  }

  has(runId: string): boolean {
    return this.#runs.has(runId);
  }

  stop(): Promise<void> {
    return this.#stop();
  }

  #add(runId: string): void {
    this.#runs.add(runId);
    const [oldest] = this.#runs;
    if (this.#runs.size > MAX_CANCELLED_RUNS && oldest !== undefined) this.#runs.delete(oldest);
  }
}
