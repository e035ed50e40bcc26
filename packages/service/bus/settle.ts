import type { JsMsg } from '@nats-io/jetstream';
import { type ConsumerName, consumerSubjects, consumers, type EventType, type PayloadOf } from '@understudy/contract';
import { Counter, Histogram } from 'prom-client';
import { handlerErrorFrom, messageOf, type RetryableError, TerminalError } from '../errors.ts';
import type { Telemetry } from '../telemetry.ts';
import type { BusConnection } from './connection.ts';
import { deadLetterOf } from './dead-letter.ts';
import { decodePayload, readType } from './event.ts';
import type { Publisher } from './publish.ts';

/** An event as a handler receives it. */
export interface Event<T extends EventType = EventType> {
  type: T;
  payload: PayloadOf<T>;
  id: string;
  /** W3C trace context of what caused it; pass it on. */
  traceparent: string | undefined;
  /** Where the message is on the bus; absent where no stream holds it. */
  place?: { readonly stream: string; readonly sequence: number };
  /** 1 for the first delivery. */
  deliveries: number;
  /** Aborted when the service drains before the handler is done. */
  signal: AbortSignal;
}

/** What a consumer works with. */
export interface ConsumeContext {
  bus: BusConnection;
  publisher: Publisher;
  telemetry: Telemetry;
}

/** A decoded message that waits for its ending. */
export interface Taken {
  message: JsMsg;
  event: Event;
  keepAlive: NodeJS.Timeout;
}

/** A message of a newer version than ours waits this long for our update. */
const newerVersionDelayMs = 30_000;

/** Acknowledgements gather for so long: a confirmation for each would cost as much as the rest of a message's way. */
const acknowledgeWaitMs = 5;

/** Gives every message of a consumer its ending: acknowledged, delayed, or a dead letter. */
export class Settler {
  readonly #context: ConsumeContext;
  readonly #name: ConsumerName;
  readonly #metrics: ConsumeMetrics;
  /** How long the server waits for a word about a message before it delivers it again. */
  ackWaitMs: number;
  /** Beginnings of the subjects that this consumer is for. */
  readonly #subjects: readonly string[];
  #acknowledging: { group: JsMsg[]; confirmed: Promise<void> } | undefined;

  constructor(context: ConsumeContext, name: ConsumerName) {
    this.#context = context;
    this.#name = name;
    this.ackWaitMs = consumers[name].ackWaitMs;
    this.#metrics = metricsOf(context.telemetry);
    this.#subjects = consumerSubjects(context.bus.naming, name).map((pattern) => pattern.slice(0, -1));
  }

  /** Decodes a message and keeps it alive; undefined when it got its ending here. */
  async decode(message: JsMsg, signal: AbortSignal): Promise<Taken | undefined> {
    // Servers before 2.10 filter by one subject only, and give a consumer of several the whole stream.
    if (!this.#subjects.some((beginning) => message.subject.startsWith(beginning))) {
      message.ack();
      return undefined;
    }
    try {
      const read = readType(message.headers);
      if (read.kind === 'newer') {
        const facts = { consumer: this.#name, ceType: read.ceType };
        this.#context.telemetry.log.error(
          facts,
          'alarm: an event of a newer version waits for this service to be updated',
        );
        message.nak(newerVersionDelayMs);
        return undefined;
      }
      const event: Event = {
        type: read.type,
        payload: decodePayload(read.type, message.data) as never,
        id: message.headers?.get('ce-id') || `${message.info.stream}:${message.seq}`,
        traceparent: message.headers?.get('traceparent') || undefined,
        place: { stream: message.info.stream, sequence: message.seq },
        deliveries: message.info.deliveryCount,
        signal,
      };
      const keepAlive = setInterval(() => message.working(), this.ackWaitMs / 3);
      return { message, event, keepAlive };
    } catch (error) {
      await this.#deadLetter(message, messageOf(error));
      return undefined;
    }
  }

  /** Runs work for one message and gives the message its ending. Never throws. */
  async settle(taken: Taken, work: () => Promise<void>): Promise<void> {
    try {
      await this.timed(work);
    } catch (thrown) {
      await this.#fail(taken, handlerErrorFrom(thrown));
      return;
    }
    await this.acknowledge(taken);
  }

  async timed(work: () => Promise<void>): Promise<void> {
    const started = performance.now();
    try {
      await work();
    } finally {
      this.#metrics.duration.observe({ consumer: this.#name }, (performance.now() - started) / 1_000);
    }
  }

  /**
   * Acknowledges a message; resolves when the server has confirmed it, or did not in time. What is acknowledged at
   * about the same time shares one confirmation: the server reads a connection in order, so the last one covers all.
   */
  acknowledge(taken: Taken): Promise<void> {
    clearInterval(taken.keepAlive);
    this.#acknowledging ??= this.#acknowledgeSoon();
    this.#acknowledging.group.push(taken.message);
    return this.#acknowledging.confirmed;
  }

  #acknowledgeSoon() {
    const group: JsMsg[] = [];
    const confirmed = new Promise<void>((resolve) => {
      setTimeout(async () => {
        this.#acknowledging = undefined;
        for (const message of group.slice(0, -1)) message.ack();
        // An acknowledgement that gets lost brings the message again, and its effect is keyed by content.
        const sure = await group
          .at(-1)!
          .ackAck()
          .catch(() => false);
        this.#metrics.handled.inc(
          { consumer: this.#name, ending: sure ? 'acknowledged' : 'unconfirmed' },
          group.length,
        );
        resolve();
      }, acknowledgeWaitMs);
    });
    return { group, confirmed };
  }

  async #fail(taken: Taken, error: RetryableError | TerminalError): Promise<void> {
    clearInterval(taken.keepAlive);
    const { deliveries, type } = taken.event;
    if (error instanceof TerminalError || deliveries >= consumers[this.#name].maxDeliver) {
      await this.#deadLetter(taken.message, messageOf(error));
      return;
    }
    const facts = { consumer: this.#name, type, deliveries, error: messageOf(error) };
    this.#context.telemetry.log.warn(facts, 'handler failed, the message comes again');
    this.#metrics.handled.inc({ consumer: this.#name, ending: 'delayed' });
    // The server takes whole numbers only, and delivers at once what it does not understand.
    taken.message.nak(Math.ceil(error.afterMs));
  }

  async #deadLetter(message: JsMsg, reason: string): Promise<void> {
    const { publisher, telemetry } = this.#context;
    telemetry.log.error({ consumer: this.#name, subject: message.subject, seq: message.seq, reason }, 'dead letter');
    try {
      await publisher.publish(deadLetterOf(message, this.#name, reason));
      message.term();
      this.#metrics.handled.inc({ consumer: this.#name, ending: 'dead-lettered' });
    } catch (error) {
      // It stays unacknowledged: the server delivers it again, or reports it to the sweeper.
      telemetry.log.error({ consumer: this.#name, error: messageOf(error) }, 'the dead letter itself was not stored');
    }
  }
}

interface ConsumeMetrics {
  handled: Counter<'consumer' | 'ending'>;
  duration: Histogram<'consumer'>;
}

const metricsCache = new WeakMap<Telemetry, ConsumeMetrics>();

const metricsOf = (telemetry: Telemetry): ConsumeMetrics => {
  const cached = metricsCache.get(telemetry);
  if (cached) return cached;
  const registers = [telemetry.metrics];
  const made: ConsumeMetrics = {
    handled: new Counter({
      name: 'understudy_messages_total',
      help: 'Messages by consumer and ending.',
      labelNames: ['consumer', 'ending'],
      registers,
    }),
    duration: new Histogram({
      name: 'understudy_handler_seconds',
      help: 'Time a handler took for a message, or for a batch.',
      labelNames: ['consumer'],
      registers,
    }),
  };
  metricsCache.set(telemetry, made);
  return made;
};
