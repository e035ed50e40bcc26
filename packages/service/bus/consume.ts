import type { Consumer, ConsumerMessages, JsMsg } from '@nats-io/jetstream';
import { type ConsumerName, consumers, type EventType, storeNameOf } from '@understudy/contract';
import { messageOf, TerminalError } from '../errors.ts';
import { type ConsumeContext, type Event, Settler, type Taken } from './settle.ts';

export type Handler<T extends EventType> = (event: Event<T>) => Promise<void>;

export interface EachOptions {
  /** Handlers by event type; every type of the consumer needs one. */
  on: { [T in EventType]?: Handler<T> };
  /** Messages handled at once. */
  concurrency: number;
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

/** How messages of one consumer are worked on. */
interface Worker {
  /** Messages that the server may hand out ahead of their endings. */
  readonly window: number;
  /** Resolves when the next message may be taken. */
  take(message: JsMsg, signal: AbortSignal): Promise<void>;
  /** Resolves when all that was taken has its ending. */
  finish(): Promise<void>;
}

/** A durable pull consumer at work. Every message ends acknowledged, delayed, or as a dead letter. */
export class Consumption {
  readonly #context: ConsumeContext;
  readonly #name: ConsumerName;
  readonly #worker: Worker;
  readonly #abort = new AbortController();
  #stopped = false;
  #messages: ConsumerMessages | undefined;
  #loop: Promise<void> = Promise.resolve();
  #pause: PromiseWithResolvers<void> | undefined;

  constructor(context: ConsumeContext, name: ConsumerName, options: EachOptions | BatchOptions) {
    this.#context = context;
    this.#name = name;
    const settler = new Settler(context, name);
    this.#worker =
      'on' in options ? new EachWorker(settler, name, options) : new BatchWorker(context, settler, name, options);
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** Takes no further message until `resume`; those under way are finished. */
  pause(): void {
    this.#pause ??= Promise.withResolvers();
  }

  resume(): void {
    this.#pause?.resolve();
    this.#pause = undefined;
  }

  /**
   * Takes no further message and waits for those under way; after the grace their signals are aborted.
   * Undelivered messages stay on the server.
   */
  async stop(graceMs: number): Promise<void> {
    this.#stopped = true;
    this.resume();
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
    this.#messages = await consumer.consume({
      max_messages: this.#worker.window,
      expires: pullExpiresMs,
      abort_on_missing_resource: true,
    });
    if (this.#stopped) await this.#messages.close();
    for await (const message of this.#messages) {
      await this.#pause?.promise;
      if (this.#stopped) {
        message.nak();
        continue;
      }
      await this.#worker.take(message, this.#abort.signal);
    }
  }

  #open(): Promise<Consumer> {
    const { bus } = this.#context;
    return bus.js.consumers.get(storeNameOf(bus.naming, consumers[this.#name].stream), this.#name);
  }
}

/** Every message by itself, several at once. */
class EachWorker implements Worker {
  readonly window: number;
  readonly #settler: Settler;
  readonly #name: ConsumerName;
  readonly #options: EachOptions;
  readonly #inFlight = new Set<Promise<void>>();

  constructor(settler: Settler, name: ConsumerName, options: EachOptions) {
    this.#settler = settler;
    this.#name = name;
    this.#options = options;
    this.window = Math.max(2, options.concurrency);
  }

  async take(message: JsMsg, signal: AbortSignal): Promise<void> {
    const work = this.#handle(message, signal).finally(() => this.#inFlight.delete(work));
    this.#inFlight.add(work);
    while (this.#inFlight.size >= this.#options.concurrency) await Promise.race(this.#inFlight);
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
  readonly window: number;
  readonly #context: ConsumeContext;
  readonly #settler: Settler;
  readonly #name: ConsumerName;
  readonly #options: BatchOptions;
  #gathering: Taken[] = [];
  #timer: NodeJS.Timeout | undefined;
  #handling: Promise<void> = Promise.resolve();

  constructor(context: ConsumeContext, settler: Settler, name: ConsumerName, options: BatchOptions) {
    this.#context = context;
    this.#settler = settler;
    this.#name = name;
    this.#options = options;
    this.window = options.maxBatch * 2;
  }

  async take(message: JsMsg, signal: AbortSignal): Promise<void> {
    const taken = await this.#settler.decode(message, signal);
    if (!taken) return;
    this.#gathering.push(taken);
    if (this.#gathering.length >= this.#options.maxBatch) {
      await this.#handling;
      this.#flush();
    } else {
      this.#timer ??= setTimeout(() => this.#flush(), this.#options.maxWaitMs);
    }
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const batch = this.#gathering;
    this.#gathering = [];
    if (batch.length > 0) this.#handling = this.#handling.then(() => this.#handle(batch));
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
    this.#flush();
    await this.#handling;
  }
}
