import { claimsSubject } from '@understudy/contract';
import { expect, test } from 'vitest';
import { testBus } from '../testing.ts';
import { listen } from './broadcast.ts';
import type { BusConnection } from './connection.ts';

test('who begins to hear just when the last of the stream expires has caught up, and hears what comes', async () => {
  await using server = await testBus();
  const { bus } = server;
  const subject = `${claimsSubject(bus.naming)}.a`;
  await bus.js.publish(subject, 'before');
  const get = async (...asked: Parameters<typeof bus.js.consumers.get>) => {
    const consumer = await bus.js.consumers.get(...asked);
    await bus.jsm.streams.purge('CLAIMS');
    return consumer;
  };
  const js = Object.assign(Object.create(bus.js), {
    consumers: Object.assign(Object.create(bus.js.consumers), { get }),
  });
  const late: BusConnection = { ...bus, js };
  const heard: string[] = [];
  const hearing = listen(late, server.telemetry, { stream: 'CLAIMS', subject, what: 'claims' }, (message) => {
    heard.push(message.string());
  });
  await hearing.caughtUp;
  expect(heard).toEqual([]);
  await bus.js.publish(subject, 'after');
  await expect.poll(() => heard).toEqual(['after']);
  await hearing();
});
