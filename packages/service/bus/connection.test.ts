import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { Telemetry } from '../telemetry.ts';
import { connectBus } from './connection.ts';

const { log } = new Telemetry({ service: 'test', logLevel: 'silent' });

/** A server that answers credentials with an error, and how many connections it has had. */
const refusing = async (error: string) => {
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    socket.on('error', () => {});
    socket.write('INFO {"server_id":"S","version":"2.14.0","proto":1,"headers":true,"max_payload":1048576}\r\n');
    socket.once('data', () => socket.end(`-ERR '${error}'\r\n`));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const connect = (signal?: AbortSignal) =>
    connectBus({
      url: `nats://127.0.0.1:${port}`,
      name: 'late',
      naming: { prefix: '' },
      log,
      ...(signal && { signal }),
    });
  return { connect, connections: () => connections, [Symbol.dispose]: () => void server.close() };
};

test('a server that refuses the credentials is not asked again', async () => {
  using server = await refusing('Authorization Violation');
  await expect(server.connect()).rejects.toThrow(/cannot use NATS at nats:.*Authorization Violation/);
  expect(server.connections()).toBe(1);
});

test('a process that was too slow to say who it is tries again', async () => {
  using server = await refusing('Authentication Timeout');
  const tired = new AbortController();
  const connecting = server.connect(tired.signal);
  const failed = expect(connecting).rejects.toThrow(/Authentication Timeout/);
  await expect.poll(server.connections).toBeGreaterThan(1);
  tired.abort();
  await failed;
});
