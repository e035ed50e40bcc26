import { randomUUID } from 'node:crypto';
import type { BusConnection } from '@understudy/service/bus/connection';

const payloadBytes = 600;
const windowSize = 500;

/** Persisted publishes a second of one connection with the plain JetStream client, to a stream of its own. */
export const rawPublishesPerSecond = async (bus: BusConnection, count: number): Promise<number> => {
  const name = `bench-${randomUUID()}`;
  await bus.jsm.streams.add({ name, subjects: [`${name}.*`] });
  const payload = new Uint8Array(payloadBytes).fill(120);
  const publish = async (messages: number) => {
    for (let sent = 0; sent < messages; sent += windowSize) {
      await Promise.all(Array.from({ length: windowSize }, () => bus.js.publish(`${name}.x`, payload)));
    }
  };
  await publish(windowSize * 4);
  const started = performance.now();
  await publish(count);
  const seconds = (performance.now() - started) / 1_000;
  await bus.jsm.streams.delete(name);
  return count / seconds;
};
