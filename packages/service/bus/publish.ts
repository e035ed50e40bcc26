import { type EventType, subjectOf } from '@understudy/contract';
import { messageOf, RetryableError } from '../errors.ts';
import type { BusConnection } from './connection.ts';
import { type EncodedEvent, encodeEvent, headersOf, type OutgoingEvent } from './event.ts';
import { PublishAcks, PublishRefused } from './publish-acks.ts';

/** Attempts within the duplicate window; the message id makes the repetitions harmless. */
const maxAttempts = 6;
const firstRetryMs = 100;
const publishTimeoutMs = 5_000;
/** Unacknowledged publishes of one process: enough to hide the round trip, few enough for the server's buffers. */
const maxInFlight = 2_000;

/** Publishes facts; resolved means stored by the server. */
export class Publisher {
  readonly #bus: BusConnection;
  readonly #source: string;
  readonly #acks: PublishAcks;
  #inFlight = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(bus: BusConnection, service: string) {
    this.#bus = bus;
    this.#source = `understudy/${service}`;
    this.#acks = new PublishAcks(bus.nc, service, publishTimeoutMs);
  }

  /**
   * Stores an event on the bus. Many may be under way at once; beyond a limit the call waits for its turn.
   * @throws RetryableError when the server did not take it within the attempts
   */
  publish<T extends EventType>(event: OutgoingEvent<T>): Promise<void> {
    return this.publishEncoded(encodeEvent(event));
  }

  async publishEncoded(event: EncodedEvent): Promise<void> {
    if (this.#inFlight >= maxInFlight) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#inFlight += 1;
    try {
      await this.#withRetries(event);
    } finally {
      this.#inFlight -= 1;
      this.#waiting.shift()?.();
    }
  }

  async #withRetries(event: EncodedEvent): Promise<void> {
    const subject = subjectOf(this.#bus.naming, event.type, event.task, event.route);
    const headers = headersOf(event, this.#source);
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#acks.publish(subject, event.data, headers);
        return;
      } catch (error) {
        if (attempt >= maxAttempts || error instanceof PublishRefused) {
          throw new RetryableError(`${subject} was not stored after ${attempt} attempts: ${messageOf(error)}`, {
            cause: error,
          });
        }
        await new Promise((resolve) => setTimeout(resolve, firstRetryMs * 2 ** (attempt - 1)));
      }
    }
  }
}
