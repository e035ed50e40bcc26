import { consumers, storeNameOf } from '@understudy/contract';
import type { BusConnection } from '@understudy/service/bus/connection';
import { messageOf } from '@understudy/service/errors';
import type { Logger } from '@understudy/service/telemetry';
import { MAX_STORE_LAG_MESSAGES, STORE_LAG_POLL_MS } from './limits.ts';

/** Whose lag counts: answers that are bought faster than they are recorded only pile up. */
const recorder = 'pair-store-answers';

/** Holds prompts back while the pair store lags behind. */
export class Backpressure {
  readonly #bus: BusConnection;
  readonly #log: Logger;
  #timer: NodeJS.Timeout | undefined;
  #held: PromiseWithResolvers<void> | undefined;

  constructor(bus: BusConnection, log: Logger) {
    this.#bus = bus;
    this.#log = log;
  }

  /** Resolves when the lag is known for the first time. */
  async start(): Promise<void> {
    await this.#poll();
    this.#timer = setInterval(() => this.#poll(), STORE_LAG_POLL_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#held?.resolve();
  }

  /** Resolves when prompts may be taken. */
  readonly gate = async (): Promise<void> => this.#held?.promise;

  async #poll(): Promise<void> {
    try {
      const stream = storeNameOf(this.#bus.naming, consumers[recorder].stream);
      const { num_pending: waiting, num_ack_pending: underWay } = await this.#bus.jsm.consumers.info(stream, recorder);
      this.#decide(waiting + underWay);
    } catch (error) {
      this.#log.warn({ error: messageOf(error) }, 'the lag of the pair store is not known');
    }
  }

  #decide(lagMessages: number): void {
    if (lagMessages > MAX_STORE_LAG_MESSAGES && !this.#held) {
      this.#held = Promise.withResolvers();
      this.#log.error(
        { lagMessages },
        'alarm: the pair store lags behind, no prompts are taken until it has caught up',
      );
    } else if (lagMessages <= MAX_STORE_LAG_MESSAGES / 2 && this.#held) {
      this.#held.resolve();
      this.#held = undefined;
      this.#log.info({ lagMessages }, 'the pair store has caught up');
    }
  }
}
