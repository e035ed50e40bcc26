import { DeliverPolicy } from '@nats-io/jetstream';
import { type EventType, events, type PayloadOf, patternOf, storeNameOf } from '@understudy/contract';
import { messageOf } from '../errors.ts';
import type { Telemetry } from '../telemetry.ts';
import type { BusConnection } from './connection.ts';
import { decodePayload, readType } from './event.ts';

const reopenDelayMs = 1_000;
/** A lost server shows itself in two missed heartbeats. */
const heartbeatMs = 1_000;
const pullExpiresMs = 5_000;

/** Call it to stop. */
export interface Hearing {
  (): Promise<void>;
  /** Resolves when all that the stream held at the beginning has been heard. */
  readonly caughtUp: Promise<void>;
}

/**
 * Hears every fact of one type that its stream still holds, and all that come: an ordered consumer of this process
 * alone, nothing acknowledged. For small facts that each replica must know.
 * @returns stops it
 */
export const hear = <T extends EventType>(
  bus: BusConnection,
  telemetry: Telemetry,
  type: T,
  heard: (payload: PayloadOf<T>) => void,
): Hearing => {
  let stopped = false;
  const caughtUp = Promise.withResolvers<void>();
  let close: () => Promise<unknown> = async () => {};
  const loop = (async () => {
    while (!stopped) {
      try {
        const consumer = await bus.js.consumers.get(storeNameOf(bus.naming, events[type].stream), {
          filter_subjects: patternOf(bus.naming, type),
          deliver_policy: DeliverPolicy.All,
        });
        const messages = await consumer.consume({ expires: pullExpiresMs, idle_heartbeat: heartbeatMs });
        close = () => messages.close();
        if (stopped) await close();
        if ((await consumer.info(true)).num_pending === 0) caughtUp.resolve();
        for await (const message of messages) {
          try {
            if (readType(message.headers).kind === 'known') heard(decodePayload(type, message.data));
          } catch (error) {
            telemetry.log.warn(
              { type, error: messageOf(error) },
              'a broadcast fact that does not decode was passed over',
            );
          }
          if (message.info.pending === 0) caughtUp.resolve();
        }
      } catch (error) {
        if (!stopped) telemetry.log.warn({ type, error: messageOf(error) }, 'broadcast lost, opening it again');
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
