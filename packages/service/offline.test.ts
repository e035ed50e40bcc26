import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { BusConnection } from './bus/connection.ts';
import { commonConfig } from './config.ts';
import { type OfflineParts, startService } from './lifecycle.ts';
import { NatsServer } from './testing.ts';

const folderFor = async () => {
  const path = await mkdtemp(join(tmpdir(), 'understudy-offline-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
};

const startOffline = (url: string, folder: string, onBus: OfflineParts['onBus']) =>
  startService(
    { name: 'student-gateway', config: commonConfig, busOptional: true, create: async () => ({ onBus }) },
    { NATS_URL: url, DATA_DIR: folder, LOG_LEVEL: 'fatal' },
  );

test('a service that does without the bus is ready before it, and is given it when it comes', async () => {
  await using server = await NatsServer.start();
  await using folder = await folderFor();
  await server.kill();
  const reached = Promise.withResolvers<BusConnection>();
  const service = await startOffline(server.url, folder.path, reached.resolve);
  const ready = await fetch(`http://127.0.0.1:${service.metricsPort}/readyz`);
  expect(ready.status).toBe(200);
  await server.start();
  const bus = await reached.promise;
  expect(await bus.nc.rtt()).toBeGreaterThanOrEqual(0);
  await service.stop();
  expect(bus.nc.isClosed()).toBe(true);
});

test('it stops while the bus was never reached, and when the bus was lost', async () => {
  await using server = await NatsServer.start();
  await using folder = await folderFor();
  await server.kill();
  const never = await startOffline(server.url, folder.path, () => {
    throw new Error('there is no bus');
  });
  await never.stop();
  await server.start();
  const reached = Promise.withResolvers<BusConnection>();
  const lost = await startOffline(server.url, folder.path, reached.resolve);
  const bus = await reached.promise;
  await server.kill();
  await lost.stop();
  expect(bus.nc.isClosed()).toBe(true);
});
