/** This file is longer than 400 lines: one bus, gateway and upstream for all that may pass or fail; starting them is what takes time. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, request } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { type TestBus, testBus } from '@understudy/service/testing';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { maxBodyBytes, maxPassedBodyBytes } from '../limits.ts';
import { eventually, TestGateway, temporaryFolder } from '../testing.ts';
import { completion, exchange, FakeUpstream, type Received, sendCompletion, valuesOf } from './testing.ts';

let bus: TestBus;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let upstream: FakeUpstream;
let gateway: TestGateway;
/** A client as users have it: nothing but its base URL is changed. */
let openai: OpenAI;

beforeAll(async () => {
  [bus, folder, upstream] = await Promise.all([testBus(), temporaryFolder(), FakeUpstream.start()]);
  gateway = await TestGateway.start(bus.server.url, folder.path, { UPSTREAM_BASE_URL: upstream.baseUrl });
  openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: 'sk-of-the-client', maxRetries: 0 });
});
afterAll(async () => {
  await gateway[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
  await bus[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});
beforeEach(() => {
  upstream.received.length = 0;
  upstream.script = (_request, response) => sendCompletion(response, 'hello');
});

const messages = [{ role: 'user' as const, content: 'hi' }];
const question = { model: 'large', messages };
const last = (): Received => upstream.received.at(-1)!;
const chatUrl = () => `${gateway.url}/v1/chat/completions`;

describe('what passes', () => {
  test('is the same request, with the headers of the client and none of the connection', async () => {
    const body = `{ "model":"large",  "messages":[], "tools":[{"x":1}], "new_field": "\\u00e9", "n": 1.0 }`;
    const headers = [
      ...['Content-Type', 'application/json', 'Authorization', 'Bearer sk-own', 'OpenAI-Organization', 'org'],
      ...['X-Custom', 'one', 'X-Custom', 'two', 'Cookie', 'a=b', 'Content-Length', String(Buffer.byteLength(body))],
      ...['Connection', 'x-hop, keep-alive', 'X-Hop', 'not further', 'TE', 'trailers', 'Proxy-Authorization', 'secret'],
    ];
    await exchange(`${chatUrl()}?a=%20b&c`, 'POST', headers, body);
    expect(last()).toMatchObject({ method: 'POST', url: '/v1/chat/completions?a=%20b&c' });
    expect(last().body.toString()).toBe(body);
    const passed = headers.slice(0, 12);
    expect(last().headers.slice(0, 2)).toEqual(['Host', new URL(upstream.baseUrl).host]);
    expect(last().headers.slice(2, 14)).toEqual(passed);
    expect(last().headers.slice(14)).toEqual([
      'Content-Length',
      String(Buffer.byteLength(body)),
      'Connection',
      'keep-alive',
    ]);
  });

  test('is the same reply: status, every header, every byte', async () => {
    const body = gzipSync('{"odd" : "reply"}');
    const own = [
      'X-RateLimit-Remaining-Requests',
      '7',
      'x-request-id',
      'req_1',
      'Set-Cookie',
      'a=1',
      'Set-Cookie',
      'b=2',
    ];
    upstream.script = (_request, response) => {
      response.sendDate = false;
      const headers = ['Content-Type', 'application/json', 'Content-Encoding', 'gzip', ...own, 'Retry-After', '3'];
      response.writeHead(203, 'Quite So', [...headers, 'Content-Length', String(body.length)]).end(body);
    };
    const reply = await exchange(`${gateway.url}/v1/embeddings`, 'POST', ['Content-Length', '2'], '{}');
    expect(reply).toMatchObject({ status: 203, message: 'Quite So' });
    expect(reply.body.equals(body)).toBe(true);
    for (const name of [
      'x-ratelimit-remaining-requests',
      'x-request-id',
      'set-cookie',
      'retry-after',
      'content-encoding',
    ])
      expect(valuesOf(reply.headers, name)).toEqual(
        valuesOf([...own, 'retry-after', '3', 'content-encoding', 'gzip'], name),
      );
  });

  test.each([
    ['GET', '/files?limit=2', ''],
    ['DELETE', '/files/file-1', ''],
    ['POST', '/responses', '{"model":"large","input":"hi"}'],
    ['POST', '/audio/transcriptions', 'not json at all \u0000'],
    ['GET', '/chat/completions', ''],
    ['GET', '/chat/completions/chatcmpl-1/messages', ''],
    ['GET', '/models/large', ''],
    ['POST', '/chat/completions', 'no json'],
    ['POST', '/chat/completions', '"json"'],
    ['POST', '/chat/completions', ''],
  ])('%s %s', async (method, path, body) => {
    upstream.script = ({ url }, response) => response.writeHead(418).end(url);
    const headers = body === '' ? [] : ['Content-Length', String(Buffer.byteLength(body))];
    const reply = await exchange(
      `${gateway.url}/v1${path}`,
      method,
      ['Content-Type', 'application/json', ...headers],
      body,
    );
    expect(reply.status).toBe(418);
    expect(reply.body.toString()).toBe(`/v1${path}`);
    expect(last().method).toBe(method);
    expect(last().body.toString()).toBe(body);
  });

  test('is a body in chunks, whatever the method, framed anew', async () => {
    for (const method of ['POST', 'GET', 'DELETE']) {
      const reply = await exchange(
        `${gateway.url}/v1/x`,
        method,
        ['Transfer-Encoding', 'chunked'],
        'GET /v1/y HTTP/1.1\r\n\r\n',
      );
      expect(reply.status).toBe(200);
      expect(last().body.toString()).toBe('GET /v1/y HTTP/1.1\r\n\r\n');
    }
    expect(upstream.received).toHaveLength(3);
  });

  test('is a body far larger than what is looked into', async () => {
    const body = Buffer.concat([Buffer.from('{"model":"large","messages":"'), randomBytes(3 * maxBodyBytes)]);
    await exchange(
      chatUrl(),
      'POST',
      ['Content-Type', 'application/json', 'Content-Length', String(body.length)],
      body,
    );
    expect(createHash('sha256').update(last().body).digest('hex')).toBe(
      createHash('sha256').update(body).digest('hex'),
    );
  });

  test('is nothing of another host, above the base, or beyond the limit', async () => {
    const long = String(maxPassedBodyBytes + 1);
    expect((await exchange(`${gateway.url}/v1/files`, 'POST', ['Content-Length', long])).status).toBe(413);
    const { hostname, port } = new URL(gateway.url);
    for (const path of [
      '/v1/../admin',
      '/v1/%2e%2E/admin',
      '/v1/a/./b',
      'http://other.example/v1/files',
      '/v1',
      '/admin',
    ]) {
      const socket = connect(Number(port), hostname);
      socket.end(`GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
      expect(await text(socket), path).toMatch(/^HTTP\/1.1 40[04] /);
    }
    expect(upstream.received).toEqual([]);
  });
});

describe('the official client', () => {
  test('gets a completion with all that belongs to it, with its own key', async () => {
    const { data, response } = await openai.chat.completions.create(question).withResponse();
    expect(data).toEqual(completion('hello'));
    expect(response.headers.has('x-understudy-answerer')).toBe(false);
    expect(valuesOf(last().headers, 'authorization')).toEqual(['Bearer sk-of-the-client']);
  });

  test('gets embeddings, and its own models beside the tasks', async () => {
    upstream.script = (_request, response) =>
      response.end('{"object":"list","data":[{"id":"large","object":"model"}]}');
    expect((await Array.fromAsync(openai.models.list())).map(({ id }) => id)).toEqual(['large']);
    upstream.script = (_request, response) => response.writeHead(500).end('{"error":{}}');
    expect(await Array.fromAsync(openai.models.list())).toEqual([]);
    upstream.script = (_request, response) =>
      response.setHeader('content-type', 'application/json').end('{"object":"list","data":[{"embedding":[0.5,1]}]}');
    const { data } = await openai.embeddings.create({ model: 'e', input: 'x', encoding_format: 'float' });
    expect(data).toEqual([{ embedding: [0.5, 1] }]);
  });

  test.each([
    [400, OpenAI.BadRequestError],
    [401, OpenAI.AuthenticationError],
    [403, OpenAI.PermissionDeniedError],
    [404, OpenAI.NotFoundError],
    [409, OpenAI.ConflictError],
    [422, OpenAI.UnprocessableEntityError],
    [429, OpenAI.RateLimitError],
    [503, OpenAI.InternalServerError],
  ])('gets the error of status %i', async (status, kind) => {
    const error = { message: `no, ${status}`, type: 'some_type', param: 'messages[0]', code: 'some_code' };
    upstream.script = (_request, response) =>
      response
        .writeHead(status, { 'content-type': 'application/json', 'retry-after': '7' })
        .end(JSON.stringify({ error }));
    const thrown = await openai.chat.completions.create(question).catch((reason) => reason);
    expect(thrown).toBeInstanceOf(kind);
    expect(thrown).toMatchObject({ status, error, code: 'some_code', param: 'messages[0]', type: 'some_type' });
    expect(thrown.headers.get('retry-after')).toBe('7');
  });

  test('retries by itself where the upstream says so', async () => {
    upstream.script = (_request, response) =>
      upstream.received.length < 3
        ? response.writeHead(429, { 'retry-after-ms': '1' }).end('{}')
        : sendCompletion(response, 'at last');
    const patient = openai.withOptions({ maxRetries: 2 });
    expect((await patient.chat.completions.create(question)).choices[0]!.message.content).toBe('at last');
  });

  test('gets each event of a stream when it was sent, tools and all', async () => {
    const toolCall = { index: 0, id: 'call_1', type: 'function', function: { name: 'f', arguments: '{' } };
    let release = () => {};
    upstream.script = async (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (const delta of [{ role: 'assistant' }, { content: 'one' }, { tool_calls: [toolCall] }]) {
        response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta }] })}\n\n`);
        await new Promise<void>((resolve) => {
          release = resolve;
        });
      }
      response.end('data: [DONE]\n\n');
    };
    const stream = await openai.chat.completions.create({ ...question, stream: true });
    const deltas: unknown[] = [];
    for await (const chunk of stream) {
      deltas.push(chunk.choices[0]!.delta);
      release(); // the next event is sent only after this one was seen
    }
    expect(deltas).toEqual([{ role: 'assistant' }, { content: 'one' }, { tool_calls: [toolCall] }]);
  });
});

describe('what goes wrong', () => {
  const endlessly: typeof upstream.script = (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n');
  };

  test('a client that leaves in mid-stream ends the call upstream', async () => {
    const closed = Promise.withResolvers<void>();
    upstream.script = (received, response, raw) => {
      response.on('close', closed.resolve);
      endlessly(received, response, raw);
    };
    const stream = await openai.chat.completions.create({ ...question, stream: true });
    for await (const _chunk of stream) break;
    await closed.promise;
  });

  test('a client that leaves before the reply ends it too', async () => {
    const closed = Promise.withResolvers<void>();
    const leaving = new AbortController();
    upstream.script = (_request, response) => {
      response.on('close', closed.resolve);
      leaving.abort();
    };
    await expect(openai.chat.completions.create(question, { signal: leaving.signal })).rejects.toThrow('aborted');
    await closed.promise;
  });

  test('an upstream that dies in mid-stream ends the stream visibly', async () => {
    upstream.script = (received, response, raw) => {
      endlessly(received, response, raw);
      setImmediate(() => response.destroy());
    };
    const stream = await openai.chat.completions.create({ ...question, stream: true });
    await expect(Array.fromAsync(stream)).rejects.toThrow();
    await eventually(async () => {
      const { values } = await gateway.telemetry.metrics
        .getSingleMetric('understudy_gateway_passed_through_total')!
        .get();
      return values.some(({ labels, value }) => labels.outcome === 'broken-off' && value > 0);
    });
  });

  test('an upstream that dies in the middle of a body of known length does too', async () => {
    upstream.script = (_request, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('half');
      setImmediate(() => response.destroy());
    };
    await expect(exchange(`${gateway.url}/v1/x`, 'GET', [])).rejects.toThrow();
  });

  test('an upstream that speaks no HTTP, or a status that is none, is a bad gateway and harms nobody else', async () => {
    for (const said of [
      'HTTP/1.1 099 Odd\r\n\r\n',
      'HTTP/1.1 101 Switching\r\n\r\n',
      'SSH-2.0-x\r\n',
      'HTTP/1.1 200 OK\r\nbad header\r\n\r\n',
    ]) {
      upstream.script = (_request, _response, raw) => raw.socket.end(said);
      const thrown = await openai.chat.completions.create(question).catch((reason) => reason);
      expect(thrown, said).toMatchObject({ status: 502, code: 'upstream_unavailable' });
    }
    upstream.script = (_request, response) => sendCompletion(response, 'still here');
    expect((await openai.chat.completions.create(question)).choices[0]!.message.content).toBe('still here');
  });

  test('an upstream that refuses a large body before it has all of it is heard', async () => {
    const refusing = createServer((received, response) => {
      received.resume();
      response.writeHead(413).end('too much');
    });
    refusing.listen(0, '127.0.0.1');
    await once(refusing, 'listening');
    const baseUrl = `http://127.0.0.1:${(refusing.address() as AddressInfo).port}/v1`;
    await using own = await TestGateway.start(bus.server.url, folder.path, { UPSTREAM_BASE_URL: baseUrl });
    const length = 64 * 1024 * 1024;
    const sent = request(`${own.url}/v1/files`, { method: 'POST', headers: { 'content-length': length } });
    sent.on('error', () => {}); // the rest of the body is not wanted
    sent.write(Buffer.alloc(length / 2));
    const [reply] = (await once(sent, 'response')) as [IncomingMessage];
    expect(reply.statusCode).toBe(413);
    expect(await text(reply)).toBe('too much');
    sent.destroy();
    refusing.close();
    refusing.closeAllConnections();
  });

  test('a reply without a body stays one', async () => {
    upstream.script = ({ method }, response) =>
      response.writeHead(method === 'HEAD' ? 200 : 204, method === 'HEAD' ? { 'content-length': '7' } : {}).end();
    const head = await exchange(`${gateway.url}/v1/files/x`, 'HEAD', []);
    expect([head.status, valuesOf(head.headers, 'content-length'), head.body.length]).toEqual([200, ['7'], 0]);
    expect((await exchange(`${gateway.url}/v1/files/x`, 'DELETE', [])).status).toBe(204);
  });

  test('an upstream that gives no reply is a bad gateway', async () => {
    upstream.script = (_request, response) => response.destroy();
    const thrown = await openai.chat.completions.create(question).catch((reason) => reason);
    expect(thrown).toMatchObject({ status: 502, code: 'upstream_unavailable' });
    expect(thrown.message).not.toContain('127.0.0.1');
  });

  test('a connection that the upstream closed while it was idle costs no request', async () => {
    const used = new WeakSet<object>();
    upstream.script = (_request, response, raw) => {
      if (used.has(raw.socket)) raw.socket.resetAndDestroy();
      else sendCompletion(response, 'once on each connection');
      used.add(raw.socket);
    };
    for (let asked = 0; asked < 5; asked += 1) {
      const { choices } = await openai.chat.completions.create(question);
      expect(choices[0]!.message.content).toBe('once on each connection');
    }
  });

  test('a client that reads slowly slows the upstream down, and gets everything', async () => {
    const block = randomBytes(256 * 1024);
    const blocks = 200;
    let written = 0;
    upstream.script = async (_request, response) => {
      for (; written < blocks; written += 1) if (!response.write(block)) await once(response, 'drain');
      response.end();
    };
    const [reply] = (await once(request(`${gateway.url}/v1/x`).end(), 'response')) as [IncomingMessage];
    reply.pause();
    let before = -1;
    await eventually(async () => {
      await new Promise((resolve) => setTimeout(resolve, 100));
      const still = before === written;
      before = written;
      return still;
    });
    expect(written).toBeLessThan(blocks);
    const [got, wanted] = [createHash('sha256'), createHash('sha256')];
    for await (const chunk of reply) got.update(chunk);
    for (let index = 0; index < blocks; index += 1) wanted.update(block);
    expect(got.digest('hex')).toBe(wanted.digest('hex'));
  });
});

test('with keys, the key of this gateway stays here, and one for certain tasks passes nothing through', async () => {
  const [own, narrow] = ['key-of-this-gateway', 'key-for-one-task-only'];
  const file = join(folder.path, 'keys.json');
  writeFileSync(
    file,
    JSON.stringify([
      { name: 'all', key: own },
      { name: 'one', key: narrow, tasks: ['help-desk'] },
    ]),
  );
  await using locked = await TestGateway.start(bus.server.url, folder.path, {
    UPSTREAM_BASE_URL: upstream.baseUrl,
    API_KEYS_FILE: file,
  });
  const ask = (headers: Record<string, string>) => locked.post('/v1/chat/completions', question, headers);
  expect((await ask({ authorization: 'Bearer sk-of-the-client' })).status).toBe(401);
  expect((await ask({ authorization: `Bearer ${narrow}` })).status).toBe(403);
  expect((await ask({ 'x-understudy-key': narrow })).status).toBe(403);
  expect(upstream.received).toEqual([]);
  expect((await ask({ authorization: `Bearer ${own}` })).status).toBe(200);
  expect((await ask({ 'x-understudy-key': own, authorization: 'Bearer sk-of-the-client' })).status).toBe(200);
  expect(upstream.received.map(({ headers }) => valuesOf(headers, 'authorization'))).toEqual([
    [],
    ['Bearer sk-of-the-client'],
  ]);
  expect(upstream.received.some(({ headers }) => headers.join().includes(own))).toBe(false);
});

test('an upstream that cannot be one stops the start with its variable', async () => {
  for (const url of [
    'api.example.com/v1',
    'ftp://api.example.com',
    'https://user:pass@api.example.com',
    'https://x/v1?key=1',
  ])
    await expect(TestGateway.start(bus.server.url, folder.path, { UPSTREAM_BASE_URL: url })).rejects.toThrow(
      'UPSTREAM_BASE_URL',
    );
});
