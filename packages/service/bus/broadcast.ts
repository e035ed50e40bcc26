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
): (() => Promise<void>) => {
  let stopped = false;
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
        for await (const message of messages) {
          try {
            if (readType(message.headers).kind === 'known') heard(decodePayload(type, message.data));
          } catch (error) {
            telemetry.log.warn(
              { type, error: messageOf(error) },
              'a broadcast fact that does not decode was passed over',
            );
          }
        }
      } catch (error) {
        if (!stopped) telemetry.log.warn({ type, error: messageOf(error) }, 'broadcast lost, opening it again');
      }
      if (!stopped) await new Promise((resolve) => setTimeout(resolve, reopenDelayMs));
    }
  })();
  return async () => {
    stopped = true;
    await close();
    await loop;
  };
};
