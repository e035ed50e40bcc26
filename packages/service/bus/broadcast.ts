import { type Consumer, DeliverPolicy, type JsMsg } from '@nats-io/jetstream';
import { type EventType, events, type PayloadOf, patternOf, type StreamName, storeNameOf } from '@understudy/contract';
import { messageOf } from '../errors.ts';
import type { Telemetry } from '../telemetry.ts';
import type { BusConnection } from './connection.ts';
import { decodePayload, readType } from './event.ts';

const reopenDelayMs = 1_000;
/** Between looks whether there is anything left to hear. */
const lookMs = 500;
/** A lost server shows itself in two missed heartbeats. */
const heartbeatMs = 1_000;
const pullExpiresMs = 5_000;

/** Call it to stop. */
export interface Hearing {
  (): Promise<void>;
  /** Resolves when all that the stream held at the beginning has been heard. */
  readonly caughtUp: Promise<void>;
}

/** What of a stream is heard. */
interface Heard {
  stream: StreamName;
  /** Subject, or pattern of subjects. */
  subject: string;
  /** For the log. */
  what: string;
}

/**
 * Hears every message on a subject that its stream still holds, and all that come, in the stream's order: an ordered consumer
 * of this process alone, nothing acknowledged. What a message makes `heard` throw is logged, and the next one is heard.
 * @returns stops it
 */
export const listen = (
  bus: BusConnection,
  { log }: Pick<Telemetry, 'log'>,
  { stream, subject, what }: Heard,
  heard: (message: JsMsg) => void,
): Hearing => {
  let stopped = false;
  const caughtUp = Promise.withResolvers<void>();
  let close: () => Promise<unknown> = async () => {};
  let heardSequence = 0;
  // Of what the stream held, the last may be removed before it is heard; then no message says that it was the last.
  const look = async (consumer: Consumer) => {
    try {
      const { num_pending: pending, delivered } = await consumer.info();
      const isHeard = delivered.consumer_seq === 0 || delivered.stream_seq <= heardSequence;
      if (pending === 0 && isHeard) caughtUp.resolve();
    } catch (error) {
      if (!stopped) log.warn({ what, error: messageOf(error) }, 'what is left to hear cannot be asked, asking again');
    }
  };
  const loop = (async () => {
    while (!stopped) {
      let looks: NodeJS.Timeout | undefined;
      try {
        const consumer = await bus.js.consumers.get(storeNameOf(bus.naming, stream), {
          filter_subjects: subject,
          deliver_policy: DeliverPolicy.All,
        });
        const messages = await consumer.consume({ expires: pullExpiresMs, idle_heartbeat: heartbeatMs });
        close = () => messages.close();
        // Not awaited: it closes as it is iterated, and before that never.
        if (stopped) void close();
        if ((await consumer.info(true)).num_pending === 0) caughtUp.resolve();
        else looks = setInterval(() => look(consumer), lookMs);
        caughtUp.promise.then(() => clearInterval(looks));
        for await (const message of messages) {
          try {
            heard(message);
          } catch (error) {
            log.warn({ what, error: messageOf(error) }, 'a broadcast message that does not decode was passed over');
          }
          heardSequence = message.seq;
          if (message.info.pending === 0) caughtUp.resolve();
        }
      } catch (error) {
        if (!stopped) log.warn({ what, error: messageOf(error) }, 'broadcast lost, opening it again');
      } finally {
        clearInterval(looks);
      }
      if (!stopped) await new Promise((resolve) => setTimeout(resolve, reopenDelayMs));
    }
  })();
  const stop = async () => {
    stopped = true;
    await close();
    await loop;
    caughtUp.resolve();
  };
  return Object.assign(stop, { caughtUp: caughtUp.promise });
};

/** Hears every fact of one type, see `listen`. For small facts that each replica must know. */
export const hear = <T extends EventType>(
  bus: BusConnection,
  telemetry: Telemetry,
  type: T,
  heard: (payload: PayloadOf<T>) => void,
): Hearing =>
  listen(
    bus,
    telemetry,
    { stream: events[type].stream, subject: patternOf(bus.naming, type), what: type },
    ({ headers, data }) => {
      if (readType(headers).kind === 'known') heard(decodePayload(type, data));
    },
  );
