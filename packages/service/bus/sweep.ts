import type { ConsumerMessages, JsMsg } from '@nats-io/jetstream';
import { type ConsumerName, consumers, storeNameOf } from '@understudy/contract';
import { messageOf } from '../errors.ts';
import type { Telemetry } from '../telemetry.ts';
import type { BusConnection } from './connection.ts';
import { letter } from './dead-letter.ts';
import { isNotFound, sweeperName } from './provision.ts';
import type { Publisher } from './publish.ts';

const reopenDelayMs = 1_000;
const retryDelayMs = 2_000;

interface Advisory {
  stream: string;
  consumer: string;
  stream_seq: number;
  deliveries: number;
}

/**
 * Turns the server's notices that it gave up on a message (every handler of it died) into dead letters. One
 * service of the platform runs it; several replicas share the work.
 */
export class Sweeper {
  readonly #bus: BusConnection;
  readonly #publisher: Publisher;
  readonly #telemetry: Telemetry;
  #messages: ConsumerMessages | undefined;
  #loop: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(bus: BusConnection, publisher: Publisher, telemetry: Telemetry) {
    this.#bus = bus;
    this.#publisher = publisher;
    this.#telemetry = telemetry;
  }

  start(): void {
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#messages?.close();
    await this.#loop;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      try {
        const consumer = await this.#bus.js.consumers.get(storeNameOf(this.#bus.naming, 'ADVISORIES'), sweeperName);
        this.#messages = await consumer.consume({ max_messages: 50, abort_on_missing_resource: true });
        // Not awaited: it closes as it is iterated, and before that never.
        if (this.#stopped) void this.#messages.close();
        for await (const message of this.#messages) await this.#sweep(message);
      } catch (error) {
        if (!this.#stopped)
          this.#telemetry.log.warn({ error: messageOf(error) }, 'sweeper lost its consumer, opening it again');
      }
      if (!this.#stopped) await new Promise((resolve) => setTimeout(resolve, reopenDelayMs));
    }
  }

  async #sweep(message: JsMsg): Promise<void> {
    try {
      const advisory = message.json<Advisory>();
      const ours = this.#ownConsumer(advisory);
      if (ours) await this.#rescue(advisory, ours);
      await message.ackAck();
    } catch (error) {
      this.#telemetry.log.error({ error: messageOf(error) }, 'an advisory could not be swept, it comes again');
      message.nak(retryDelayMs);
    }
  }

  #ownConsumer(advisory: Advisory): ConsumerName | undefined {
    if (!Object.hasOwn(consumers, advisory.consumer)) return undefined;
    const name = advisory.consumer as ConsumerName;
    return storeNameOf(this.#bus.naming, consumers[name].stream) === advisory.stream ? name : undefined;
  }

  async #rescue(advisory: Advisory, consumer: ConsumerName): Promise<void> {
    const stored = await this.#bus.jsm.streams
      .getMessage(advisory.stream, { seq: advisory.stream_seq })
      .catch((error) => {
        if (isNotFound(error)) return null;
        throw error;
      });
    if (!stored) return;
    const reason = `given up after ${advisory.deliveries} deliveries to ${consumer}: no handler lived to its end`;
    this.#telemetry.log.error({ consumer, seq: advisory.stream_seq, reason }, 'dead letter');
    await this.#publisher.publish(
      letter(
        {
          stream: advisory.stream,
          seq: stored.seq,
          subject: stored.subject,
          deliveryCount: advisory.deliveries,
          headers: stored.header,
          data: stored.data,
        },
        consumer,
        reason,
      ),
    );
    if (consumers[consumer].stream === 'PROMPTS')
      await this.#bus.jsm.streams.deleteMessage(advisory.stream, stored.seq);
  }
}
