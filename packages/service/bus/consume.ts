import type { Consumer, ConsumerMessages, JsMsg } from '@nats-io/jetstream';
import { millis } from '@nats-io/transport-node';
import { type ConsumerName, consumers, type EventType, storeNameOf } from '@understudy/contract';
import { messageOf, TerminalError } from '../errors.ts';
import { type ConsumeContext, type Event, Settler, type Taken } from './settle.ts';

export type Handler<T extends EventType> = (event: Event<T>) => Promise<void>;

export interface EachOptions {
  /** Handlers by event type; every type of the consumer needs one. */
  on: { [T in EventType]?: Handler<T> };
  /** Messages handled at once; no more are asked for, so that none waits here while another replica is idle. */
  concurrency: number;
  /** Awaited before messages are asked for: holds them back for as long as it does not resolve. */
  gate?: () => Promise<void>;
}

export interface BatchOptions {
  /** Handles many events at once; when it throws, each is handled alone, so that one bad event stops no other. */
  onBatch: (events: Event[]) => Promise<void>;
  maxBatch: number;
  /** A batch is handled when it is full or this old. */
  maxWaitMs: number;
}

/** Between tries to reach a consumer that is gone for a moment (server restart, provisioning). */
const reopenDelayMs = 500;
/** A lost server shows itself in missed heartbeats; short, so that work goes on soon after a restart. */
const pullExpiresMs = 5_000;

/** Places that come free at about the same time are filled with one request: so many of them, or after so long. */
const refillShare = 1 / 4;
const refillWaitMs = 20;

/** How messages of one consumer are worked on. */
interface Worker {
  /** Resolves with how many messages can be begun at once; at least 1. */
  room(): Promise<number>;
  take(message: JsMsg, signal: AbortSignal): void;
  /** Resolves when all that was taken has its ending. */
  finish(): Promise<void>;
}

/**
 * A durable pull consumer at work. Every message ends acknowledged, delayed, or as a dead letter. Only what can be begun is
 * asked for: a message that waited here would not be kept alive, and the server would deliver it again.
 */
export class Consumption {
  readonly #context: ConsumeContext;
  readonly #name: ConsumerName;
  readonly #settler: Settler;
  readonly #worker: Worker;
  readonly #abort = new AbortController();
  #stopped = false;
  #messages: ConsumerMessages | undefined;
  #loop: Promise<void> = Promise.resolve();
  #wake = () => {};

  constructor(context: ConsumeContext, name: ConsumerName, options: EachOptions | BatchOptions) {
    this.#context = context;
    this.#name = name;
    this.#settler = new Settler(context, name);
    this.#worker =
      'on' in options
        ? new EachWorker(this.#settler, name, options)
        : new BatchWorker(context, this.#settler, name, options);
  }

  start(): void {
    this.#loop = this.#run();
  }

  /**
   * Takes no further message and waits for those under way; after the grace their signals are aborted.
   * Undelivered messages stay on the server.
   */
  async stop(graceMs: number): Promise<void> {
    this.#stopped = true;
    this.#wake();
    await this.#messages?.close();
    const abort = setTimeout(() => this.#abort.abort(), graceMs);
    await this.#loop;
    await this.#worker.finish();
    clearTimeout(abort);
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#consume();
      } catch (error) {
        if (this.#stopped) return;
        const facts = { consumer: this.#name, error: messageOf(error) };
        this.#context.telemetry.log.warn(facts, 'consumer lost, opening it again');
      }
      if (!this.#stopped) await new Promise((resolve) => setTimeout(resolve, reopenDelayMs));
    }
  }

  async #consume(): Promise<void> {
    const consumer = await this.#open();
    while (!this.#stopped) {
      const room = await this.#roomOrStop();
      if (room === undefined) return;
      this.#messages = await consumer.fetch({ max_messages: room, expires: pullExpiresMs });
      // Not awaited: it closes as it is iterated, and before that never.
      if (this.#stopped) void this.#messages.close();
      for await (const message of this.#messages) {
        if (this.#stopped) message.nak();
        else this.#worker.take(message, this.#abort.signal);
      }
    }
  }

  /** The worker's room, or undefined as soon as the consumption is stopped. */
  #roomOrStop(): Promise<number | undefined> {
    return new Promise((resolve, reject) => {
      this.#wake = () => resolve(undefined);
      this.#worker.room().then((room) => resolve(this.#stopped ? undefined : room), reject);
    });
  }

  async #open(): Promise<Consumer> {
    const { bus } = this.#context;
    const consumer = await bus.js.consumers.get(storeNameOf(bus.naming, consumers[this.#name].stream), this.#name);
    // As the server has it: an operator may have changed it, and what is kept alive too seldom is delivered twice.
    const { config } = await consumer.info(true);
    if (config.ack_wait) this.#settler.ackWaitMs = millis(config.ack_wait);
    return consumer;
  }
}

/** Every message by itself, several at once. */
class EachWorker implements Worker {
  readonly #settler: Settler;
  readonly #name: ConsumerName;
  readonly #options: EachOptions;
  readonly #inFlight = new Set<Promise<void>>();
  #freed = () => {};

  constructor(settler: Settler, name: ConsumerName, options: EachOptions) {
    this.#settler = settler;
    this.#name = name;
    this.#options = options;
  }

  async room(): Promise<number> {
    await this.#options.gate?.();
    if (this.#free() < 1) {
      await new Promise<void>((resolve) => {
        this.#freed = resolve;
      });
    }
    if (this.#free() < this.#options.concurrency * refillShare) {
      await new Promise((resolve) => setTimeout(resolve, refillWaitMs));
    }
    return this.#free();
  }

  #free(): number {
    return this.#options.concurrency - this.#inFlight.size;
  }

  take(message: JsMsg, signal: AbortSignal): void {
    const work = this.#handle(message, signal).finally(() => {
      this.#inFlight.delete(work);
      this.#freed();
    });
    this.#inFlight.add(work);
  }

  async #handle(message: JsMsg, signal: AbortSignal): Promise<void> {
    const taken = await this.#settler.decode(message, signal);
    if (!taken) return;
    await this.#settler.settle(taken, async () => {
      const handler = this.#options.on[taken.event.type] as Handler<EventType> | undefined;
      if (!handler) throw new TerminalError(`${this.#name} has no handler for ${taken.event.type}`);
      await handler(taken.event);
    });
  }

  async finish(): Promise<void> {
    await Promise.all(this.#inFlight);
  }
}

/** Many messages at once: while one batch is handled, the next gathers. */
class BatchWorker implements Worker {
  readonly #context: ConsumeContext;
  readonly #settler: Settler;
  readonly #name: ConsumerName;
  readonly #options: BatchOptions;
  readonly #decoding = new Set<Promise<void>>();
  #gathering: Taken[] = [];
  #timer: NodeJS.Timeout | undefined;
  #handling: Promise<void> = Promise.resolve();
  #handlingCount = 0;

  constructor(context: ConsumeContext, settler: Settler, name: ConsumerName, options: BatchOptions) {
    this.#context = context;
    this.#settler = settler;
    this.#name = name;
    this.#options = options;
  }

  async room(): Promise<number> {
    while (this.#free() < 1) await (this.#handlingCount > 0 ? this.#handling : Promise.race(this.#decoding));
    return this.#free();
  }

  #free(): number {
    return this.#options.maxBatch * 2 - this.#decoding.size - this.#gathering.length - this.#handlingCount;
  }

  take(message: JsMsg, signal: AbortSignal): void {
    const work = this.#gather(message, signal).finally(() => this.#decoding.delete(work));
    this.#decoding.add(work);
  }

  async #gather(message: JsMsg, signal: AbortSignal): Promise<void> {
    const taken = await this.#settler.decode(message, signal);
    if (!taken) return;
    this.#gathering.push(taken);
    if (this.#gathering.length >= this.#options.maxBatch) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), this.#options.maxWaitMs);
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const batch = this.#gathering;
    this.#gathering = [];
    if (batch.length === 0) return;
    this.#handlingCount += batch.length;
    this.#handling = this.#handling.then(async () => {
      await this.#handle(batch);
      this.#handlingCount -= batch.length;
    });
  }

  async #handle(batch: Taken[]): Promise<void> {
    try {
      await this.#settler.timed(() => this.#options.onBatch(batch.map(({ event }) => event)));
    } catch (error) {
      const facts = { consumer: this.#name, size: batch.length, error: messageOf(error) };
      this.#context.telemetry.log.warn(facts, 'batch failed, handling its events one by one');
      for (const taken of batch) await this.#settler.settle(taken, () => this.#options.onBatch([taken.event]));
      return;
    }
    await Promise.all(batch.map((taken) => this.#settler.acknowledge(taken)));
  }

  async finish(): Promise<void> {
    await Promise.all(this.#decoding);
    this.#flush();
    await this.#handling;
  }
}
