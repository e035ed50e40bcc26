import { messageOf } from '@understudy/service/errors';
import type { Telemetry } from '@understudy/service/telemetry';
import { IDLE_POLL_MS, RETRY_MS } from './limits.ts';

/** Background work: a step is repeated for as long as there is work, then waits to be woken, or a while. */
export class Worker {
  readonly #name: string;
  readonly #step: () => Promise<boolean>;
  readonly #telemetry: Telemetry;
  #stopped = false;
  #woken = false;
  #wake: () => void = () => {};
  #loop: Promise<void> = Promise.resolve();

  /** `step` says whether there may be more to do at once. */
  constructor(name: string, telemetry: Telemetry, step: () => Promise<boolean>) {
    this.#name = name;
    this.#telemetry = telemetry;
    this.#step = step;
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** There is work now. */
  wake(): void {
    this.#woken = true;
    this.#wake();
  }

  /** Resolves when the step under way is done. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake();
    await this.#loop;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      this.#woken = false;
      try {
        if (!(await this.#step())) await this.#sleep(IDLE_POLL_MS);
      } catch (error) {
        this.#telemetry.log.error(
          { worker: this.#name, error: messageOf(error) },
          'background work failed, trying again',
        );
        this.#woken = false;
        await this.#sleep(RETRY_MS);
      }
    }
  }

  async #sleep(ms: number): Promise<void> {
    if (this.#woken || this.#stopped) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = () => {};
  }
}
