import { expect, test } from 'vitest';
import { digestOf } from '../blobs/blob-store.ts';
import { testBus } from '../testing.ts';
import { hear } from './broadcast.ts';
import { Consumption } from './consume.ts';

const taskDigest = digestOf(new TextEncoder().encode('task'));

test('a kill -9 of the server in the middle loses no stored fact, and consumers go on by themselves', async () => {
  await using server = await testBus();
  const handled = new Set<string>();
  const heard = new Set<string>();
  const consumption = new Consumption(server, 'pair-store-batches', {
    concurrency: 8,
    on: { 'run.cancelled': async ({ payload }) => void handled.add(payload.runId) },
  });
  consumption.start();
  const unhear = hear(server.bus, server.telemetry, 'run.cancelled', ({ runId }) => heard.add(runId));
  const publish = async (from: number, to: number) => {
    for (let index = from; index < to; index += 1) {
      const runId = `run-${index}`;
      await server.publisher.publish({
        type: 'run.cancelled',
        entity: runId,
        payload: { runId, task: 'outage', taskDigest },
      });
    }
  };
  await publish(0, 100);
  // The next one is under way, and all others wait for it.
  const publishing = publish(100, 300);
  await server.server.kill();
  await server.server.start();
  await publishing;
  await expect.poll(() => handled.size).toBe(300);
  await expect.poll(() => heard.size).toBe(300);
  await unhear();
  await consumption.stop(60_000);
});

test('a stop finishes what was begun and leaves the rest on the server', async () => {
  await using server = await testBus();
  const begun: string[] = [];
  const finished: string[] = [];
  const gate = Promise.withResolvers<void>();
  const first = new Consumption(server, 'pair-store-batches', {
    concurrency: 2,
    on: {
      'run.cancelled': async ({ payload }) => {
        begun.push(payload.runId);
        await gate.promise;
        finished.push(payload.runId);
      },
    },
  });
  first.start();
  for (let index = 0; index < 10; index += 1) {
    await server.publisher.publish({
      type: 'run.cancelled',
      entity: String(index),
      payload: { runId: String(index), task: 'drain', taskDigest },
    });
  }
  await expect.poll(() => begun.length).toBe(2);
  const stopped = first.stop(60_000);
  gate.resolve();
  await stopped;
  expect(finished).toEqual(begun);
  const rest = new Set<string>(finished);
  const second = new Consumption(server, 'pair-store-batches', {
    concurrency: 8,
    on: { 'run.cancelled': async ({ payload }) => void rest.add(payload.runId) },
  });
  second.start();
  await expect.poll(() => rest.size).toBe(10);
  await second.stop(60_000);
});
