import { connect } from 'node:net';
import { text as read } from 'node:stream/consumers';
import { type TestBus, testBus } from '@understudy/service/testing';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { maxBodyBytes, maxInferRows } from '../limits.ts';
import { deploy, TestGateway, taskOf, temporaryFolder } from '../testing.ts';

let bus: TestBus;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let gateway: TestGateway;

beforeAll(async () => {
  [bus, folder] = await Promise.all([testBus(), temporaryFolder()]);
  gateway = await TestGateway.start(bus.server.url, folder.path);
  await deploy(bus.bus, gateway.blobs, { task: taskOf('help-desk'), generation: 1, seed: 7 });
  await gateway.serves('help-desk', 1);
});

afterAll(async () => {
  await gateway[Symbol.asyncDispose]();
  await bus[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const good = { model: 'help-desk', messages: [{ role: 'user', content: 'the parcel never came' }] };

// Whatever a client sent before, the next one is served.
afterEach(async () => {
  expect((await gateway.post('/v1/chat/completions', good)).status).toBe(200);
});

const chat = (body: unknown, headers?: Record<string, string>) => gateway.post('/v1/chat/completions', body, headers);

const failure = async (response: Response) => {
  const { error } = (await response.json()) as { error: { message: string; type: string; param: string | null } };
  expect(error.type).toBe('invalid_request_error');
  return { status: response.status, message: error.message, param: error.param };
};

/** Sends raw bytes and reads until the server ends the connection. */
const raw = async (...chunks: (string | Uint8Array)[]): Promise<string> => {
  const socket = connect({ port: Number(new URL(gateway.url).port), host: '127.0.0.1' });
  for (const chunk of chunks) socket.write(chunk);
  return read(socket);
};

describe('a body that is not what it should be', () => {
  test.each([
    ['nothing', '', /not valid JSON/],
    ['no JSON', '{"model": help', /not valid JSON/],
    ['a body cut off', '{"model":"help-desk","messages":[{"role":"user"', /not valid JSON/],
    ['a hundred thousand brackets', '['.repeat(100_000), /not valid JSON/],
    ['a list', [], /expected a JSON object with "model" and "messages"/],
    ['null', null, /expected a JSON object/],
    ['no model', { messages: good.messages }, /model: expected the name of a task/],
    ['a model that is a number', { ...good, model: 7 }, /model: expected the name of a task/],
    ['no messages', { model: 'help-desk' }, /messages: expected a list/],
    ['messages that are a text', { ...good, messages: 'hello' }, /messages: expected a list/],
    ['no message', { ...good, messages: [] }, /one with the role "user"/],
    ['messages of nulls', { ...good, messages: [null, 1, 'x'] }, /one with the role "user"/],
    ['no user', { ...good, messages: [{ role: 'system', content: 'x' }] }, /one with the role "user"/],
    ['no content', { ...good, messages: [{ role: 'user' }] }, /messages\[0\]\.content: expected a string/],
    ['a number as content', { ...good, messages: [{ role: 'user', content: 5 }] }, /expected a string or a list/],
    [
      'an image',
      { ...good, messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'http://x' } }] }] },
      /expected parts of type "text" only/,
    ],
    ['several answers', { ...good, n: 2 }, /n: expected 1/],
    ['tools', { ...good, tools: [{ type: 'function' }] }, /tools: expected none/],
    ['a stream of maybe', { ...good, stream: 'maybe' }, /stream: expected true or false/],
  ])('%s is a bad request that says why', async (_what, body, message) => {
    expect(await failure(await chat(body))).toMatchObject({ status: 400, message: expect.stringMatching(message) });
  });

  test('bytes that are not UTF-8 are refused, not mangled', async () => {
    const bytes = Buffer.concat([
      Buffer.from('{"model":"help-desk","messages":[{"role":"user","content":"'),
      Buffer.from([0xc3, 0x28]),
      Buffer.from('"}]}'),
    ]);
    expect(await failure(await chat(bytes))).toMatchObject({ status: 400, message: expect.stringMatching(/UTF-8/) });
  });

  test('an unpaired surrogate and a NUL are text like any other', async () => {
    const response = await chat(
      '{"model":"help-desk","messages":[{"role":"user","content":"parcel \\ud83d \\u0000"}]}',
    );
    expect(response.status).toBe(200);
  });

  test('keys of the prototype are no fields of an input', async () => {
    const content = '{"__proto__":{"text":"x"}}';
    const response = await chat({ ...good, messages: [{ role: 'user', content }] });
    expect(response.status).toBe(200); // one field: what is no object with exactly that field is plain text
  });
});

describe('a request of the wrong kind', () => {
  test.each(['text/plain', 'application/x-www-form-urlencoded', 'application/json; charset=latin1', ''])(
    'content type %j is refused',
    async (type) => {
      const response = await chat(JSON.stringify(good), { 'content-type': type });
      expect(await failure(response)).toMatchObject({
        status: 415,
        message: expect.stringMatching(/application\/json/),
      });
    },
  );

  test('a charset of UTF-8 is fine, a compressed body is not', async () => {
    expect((await chat(good, { 'content-type': 'application/json; charset=UTF-8' })).status).toBe(200);
    expect((await failure(await chat(good, { 'content-encoding': 'gzip' }))).status).toBe(415);
  });

  test('other methods and paths are told what there is', async () => {
    expect((await failure(await fetch(`${gateway.url}/v1/chat/completions`))).status).toBe(405);
    expect((await failure(await chat(good).then(() => gateway.post('/v1/completions', good)))).status).toBe(404);
    expect((await failure(await fetch(`${gateway.url}/v1/models/%E0%A4%A`))).status).toBe(404);
    const inference = await gateway.post('/v2/models/help-desk/nothing', {});
    expect(inference.status).toBe(404);
    expect(await inference.json()).toEqual({ error: expect.stringMatching(/nothing is at this path/) });
  });

  test('what is no HTTP gets an answer in HTTP', async () => {
    expect(await raw('\x16\x03\x01\x02\x00garbage\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 .*"error"/s);
  });

  test('headers over the limit are refused', async () => {
    const answer = await raw(`GET /v1/models HTTP/1.1\r\nhost: x\r\nx-filler: ${'x'.repeat(20_000)}\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 431 /);
  });
});

describe('a body that is too large', () => {
  const tooLarge = (bytes: number) => chat(JSON.stringify({ ...good, filler: 'x'.repeat(bytes) }));

  test('is refused with its limit, and one just below it is read', async () => {
    expect(await failure(await tooLarge(maxBodyBytes))).toMatchObject({
      status: 413,
      message: expect.stringContaining(String(maxBodyBytes)),
    });
    expect((await tooLarge(maxBodyBytes - 200)).status).toBe(200);
  });

  test('is refused before it is sent where it says its length', async () => {
    const head = 'POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n';
    expect(await raw(`${head}content-length: 10000000000\r\n\r\n{`)).toMatch(/^HTTP\/1\.1 413 /);
  });

  test('that never ends is cut off', async () => {
    const endless = new ReadableStream({
      pull: (controller) => controller.enqueue(new Uint8Array(1024 * 1024).fill(0x20)),
    });
    const headers = { 'content-type': 'application/json' };
    const init = { method: 'POST', headers, body: endless, duplex: 'half' as const };
    const outcome = await fetch(`${gateway.url}/v1/chat/completions`, init).then(
      ({ status }) => status,
      () => 'cut off',
    );
    expect([413, 'cut off']).toContain(outcome);
  });

  test('an input over the limit of inputs is a bad request', async () => {
    const response = await chat({ ...good, messages: [{ role: 'user', content: 'x'.repeat(300_000) }] });
    expect(await failure(response)).toMatchObject({
      status: 400,
      message: expect.stringMatching(/over the size limit/),
    });
  });
});

describe('a client that does not keep up', () => {
  test('and never finishes its headers is sent away, while others are served', async () => {
    const answer = raw('POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n');
    expect((await chat(good)).status).toBe(200);
    expect(await answer).toMatch(/^HTTP\/1\.1 408 .*expected headers within/s);
  });

  test('and hangs up in the middle of its body leaves no trace', async () => {
    const socket = connect({ port: Number(new URL(gateway.url).port), host: '127.0.0.1' });
    const head = 'POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n';
    await new Promise<void>((resolve) => socket.write(`${head}content-length: 100\r\n\r\n{"model"`, () => resolve()));
    socket.resetAndDestroy();
    expect((await chat(good)).status).toBe(200);
  });
});

describe('the Open Inference Protocol', () => {
  const infer = (body: unknown, task = 'help-desk') => gateway.post(`/v2/models/${task}/infer`, body);
  const input = (data: unknown, shape: unknown = [1], datatype = 'BYTES', name = 'text') => ({
    inputs: [{ name, datatype, shape, data }],
  });

  test.each([
    ['no inputs', {}, /inputs/],
    ['numbers', input([1]), /inputs\.0\.data\.0/],
    ['another datatype', input(['x'], [1], 'FP32'), /expected "BYTES"/],
    ['a shape that lies', input(['x'], [2]), /a shape that says so/],
    ['another field', input(['x'], [1], 'BYTES', 'body'), /field text is missing/],
    ['no rows', input([], [0]), /expected 1 to 256 rows/],
    ['too many rows', input(Array(maxInferRows + 1).fill('x'), [maxInferRows + 1]), /expected 1 to 256 rows/],
    ['one input twice', { inputs: [...input(['x']).inputs, ...input(['y']).inputs] }, /expected distinct names/],
  ])('%s is a bad request that says why', async (_what, body, message) => {
    const response = await infer(body);
    expect(response.status).toBe(400);
    expect(await response.json()).toEqual({ error: expect.stringMatching(message) });
  });

  test('an unknown model is not found', async () => {
    expect((await infer(input(['x']), 'nobody')).status).toBe(404);
    expect((await fetch(`${gateway.url}/v2/models/nobody/ready`)).status).toBe(404);
  });
});
