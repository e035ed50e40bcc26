import { getEventListeners } from 'node:events';
import { Metadata, status } from '@grpc/grpc-js';
import { PairStoreService } from '@understudy/contract/pair-store';
import { PromptService } from '@understudy/contract/prompt';
import { expect, test } from 'vitest';
import { RetryableError, StartupError } from '../errors.ts';
import { Telemetry } from '../telemetry.ts';
import { createClient } from './client.ts';
import { RpcServer, rpcService } from './server.ts';
import { notFound, RpcError } from './status.ts';

const telemetry = new Telemetry({ service: 'test', logLevel: 'fatal' });

const pairStore = rpcService(PairStoreService, {
  findPairs: async ({ pairIds }) => ({ pairs: pairIds.map((pairId) => ({ pairId })) }),
  getSnapshot: async () => {
    throw notFound('no such snapshot');
  },
  importPairs: async () => ({ kept: 0 }),
  stats: async () => {
    throw new RetryableError('busy', { afterMs: 1_234 });
  },
  async *streamPairs(_request, { signal }) {
    for (let index = 0; !signal.aborted; index += 1) yield { pairs: [{ groupId: String(index) }] };
  },
});

const serving = async (options: { token?: string; reflection?: boolean } = {}) => {
  const server = new RpcServer({ host: '127.0.0.1', port: 0, reflection: false, telemetry, ...options }, [pairStore]);
  await server.listen();
  server.setServing(true);
  return server;
};

test('calls carry messages, statuses and retry-after across the wire', async () => {
  const server = await serving();
  const client = createClient(PairStoreService, { address: `127.0.0.1:${server.port}` });
  expect((await client.findPairs({ pairIds: ['a', 'b'] })).pairs.map(({ pairId }) => pairId)).toEqual(['a', 'b']);
  const missing = await client.getSnapshot({}).catch((error: unknown) => error);
  expect(missing).toBeInstanceOf(RpcError);
  expect(missing).toMatchObject({ code: status.NOT_FOUND, message: expect.stringContaining('no such snapshot') });
  const busy = await client.stats({}).catch((error: unknown) => error);
  expect(busy).toBeInstanceOf(RetryableError);
  expect(busy).toMatchObject({ afterMs: 1_234 });
  client.close();
  await server.stop(500);
});

test('a stream ends when its reader leaves, and does not hold up the stop', async () => {
  const server = await serving();
  const client = createClient(PairStoreService, { address: `127.0.0.1:${server.port}` });
  const seen: string[] = [];
  for await (const { pairs } of client.streamPairs({})) {
    seen.push(pairs[0]!.groupId);
    if (seen.length === 100) break;
  }
  expect(seen.at(-1)).toBe('99');
  client.close();
  await server.stop(5_000);
});

test('without the token nothing is served; with it, everything', async () => {
  const server = await serving({ token: 'secret-token' });
  const address = `127.0.0.1:${server.port}`;
  for (const token of [undefined, 'wrong', 'secret-tokem']) {
    const client = createClient(PairStoreService, { address, token });
    await expect(client.findPairs({ pairIds: ['a'] })).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
    client.close();
  }
  const client = createClient(PairStoreService, { address, token: 'secret-token' });
  await expect(client.findPairs({ pairIds: ['a'] })).resolves.toBeDefined();
  client.close();
  await server.stop(500);
});

test('a server that is away is a passing fault; a method it lacks is not', async () => {
  const away = createClient(PairStoreService, { address: '127.0.0.1:1' });
  await expect(away.findPairs({ pairIds: [] }, { timeoutMs: 500 })).rejects.toBeInstanceOf(RetryableError);
  away.close();
  const server = await serving();
  const other = createClient(PromptService, { address: `127.0.0.1:${server.port}` });
  await expect(other.listTasks({})).rejects.toMatchObject({ code: status.UNIMPLEMENTED });
  other.close();
  await server.stop(500);
});

test('a signal that outlives its calls keeps none of them', async () => {
  const { signal } = new AbortController();
  const away = createClient(PairStoreService, { address: '127.0.0.1:1' });
  await expect(away.findPairs({ pairIds: [] }, { signal })).rejects.toBeInstanceOf(RetryableError);
  away.close();
  expect(getEventListeners(signal, 'abort')).toEqual([]);
});

test('an address open to other machines needs a token, and a taken port is named', async () => {
  const open = new RpcServer({ host: '0.0.0.0', port: 0, reflection: false, telemetry }, [pairStore]);
  await expect(open.listen()).rejects.toThrow(/RPC_TOKEN_FILE/);
  const first = await serving();
  const second = new RpcServer({ host: '127.0.0.1', port: first.port, reflection: false, telemetry }, [pairStore]);
  await expect(second.listen()).rejects.toThrow(StartupError);
  await expect(second.listen()).rejects.toThrow(String(first.port));
  await first.stop(500);
});

test('reflection lists the services in development', async () => {
  const server = await serving({ reflection: true });
  const { Client, credentials } = await import('@grpc/grpc-js');
  const client = new Client(`127.0.0.1:${server.port}`, credentials.createInsecure());
  const stream = client.makeBidiStreamRequest(
    '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    // Field 7 of ServerReflectionRequest, list_services = "".
    () => Buffer.from([0x3a, 0x00]),
    (bytes: Buffer) => bytes.toString('latin1'),
    new Metadata(),
  );
  const answer = new Promise<string>((resolve, reject) => stream.on('data', resolve).on('error', reject));
  stream.write({});
  expect(await answer).toContain('understudy.pair_store.v1.PairStoreService');
  stream.end();
  client.close();
  await server.stop(500);
});
