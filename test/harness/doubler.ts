import { headers } from '@nats-io/transport-node';
import { type EventType, events, patternOf } from '@understudy/contract';
import type { BusConnection } from '@understudy/service/bus/connection';

const mark = 'x-doubled';

/**
 * Publishes every event a second time, under another message id so that the server's own window does not hide it, and
 * a little later, so that consumers see it after they have finished with the first.
 * @returns how many it doubled so far; disposed of, it stops
 */
export const doubleEverything = (bus: BusConnection, delayMs: number): { count(): number } & Disposable => {
  let count = 0;
  const waiting = new Set<NodeJS.Timeout>();
  const subscriptions = (Object.keys(events) as EventType[]).map((type) =>
    bus.nc.subscribe(patternOf(bus.naming, type), {
      callback: (_error, message) => {
        if (message.headers?.has(mark)) return;
        const again = headers();
        for (const [key, values] of message.headers ?? []) if (key !== 'Nats-Msg-Id') again.set(key, values[0]!);
        again.set(mark, '1');
        count += 1;
        const timer = setTimeout(() => {
          waiting.delete(timer);
          bus.nc.publish(message.subject, message.data, { headers: again });
        }, delayMs);
        waiting.add(timer);
      },
    }),
  );
  return {
    count: () => count,
    [Symbol.dispose]: () => {
      for (const subscription of subscriptions) subscription.unsubscribe();
      for (const timer of waiting) clearTimeout(timer);
    },
  };
};
