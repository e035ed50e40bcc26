import type { Consumer } from '@nats-io/jetstream';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type TestBus, testBus } from '../testing.ts';
import { hear } from './broadcast.ts';
import { Consumption } from './consume.ts';

let server: TestBus;
beforeAll(async () => {
  server = await testBus();
});
afterAll(() => server[Symbol.asyncDispose]());

/** Does something at the moment that messages are asked for, before whoever asked has them. */
function asMessagesAreAsked(happens: () => void) {
  const { consumers } = server.bus.js;
  const get = consumers.get.bind(consumers);
  return vi.spyOn(consumers, 'get').mockImplementation(async (...given) => {
    const consumer: Consumer = await get(...given);
    for (const name of ['fetch', 'consume'] as const) {
      const ask = consumer[name].bind(consumer);
      consumer[name] = async (options?: object) => {
        const messages = await ask(options);
        happens();
        return messages;
      };
    }
    return consumer;
  });
}

test('a consumption that is stopped just as it asks for messages ends', async () => {
  const ended = Promise.withResolvers<void>();
  const spy = asMessagesAreAsked(() => ended.resolve(consumption.stop(1_000)));
  const consumption = new Consumption(server, 'prompt-runs', {
    concurrency: 1,
    on: { 'run.requested': async () => {} },
  });
  consumption.start();
  await ended.promise;
  expect(spy).toHaveBeenCalledOnce();
  spy.mockRestore();
});

test('so does one that hears what all must know', async () => {
  const ended = Promise.withResolvers<void>();
  const spy = asMessagesAreAsked(() => ended.resolve(stop()));
  const stop = hear(server.bus, server.telemetry, 'run.cancelled', () => {});
  await ended.promise;
  expect(spy).toHaveBeenCalledOnce();
  spy.mockRestore();
});
