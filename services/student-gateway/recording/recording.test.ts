import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { CallObserved } from '@understudy/contract';
import { decodePayload } from '@understudy/service/bus/event';
import { type TestBus, testBus } from '@understudy/service/testing';
import { workloadId } from '@understudy/task';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { maxRecordedReplyBytes } from '../limits.ts';
import { completion, FakeUpstream, sendCompletion } from '../proxy/testing.ts';
import { eventually, restarted, TestGateway, temporaryFolder } from '../testing.ts';

const canary = 'sk-canary-3f9b2c71';
let bus: TestBus;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let upstream: FakeUpstream;
let gateway: TestGateway;
let openai: OpenAI;
const env = () => ({ UPSTREAM_BASE_URL: upstream.baseUrl, RECORD_CALLS: '1' });

beforeAll(async () => {
  [bus, folder, upstream] = await Promise.all([testBus(), temporaryFolder(), FakeUpstream.start()]);
  const prices = join(folder.path, 'prices.json');
  writeFileSync(prices, JSON.stringify({ large: { inputUsdPerMillionTokens: 2, outputUsdPerMillionTokens: 8 } }));
  gateway = await TestGateway.start(bus.server.url, folder.path, { ...env(), PRICES_FILE: prices });
  openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: canary, maxRetries: 0 });
});
afterAll(async () => {
  await gateway[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
  await bus[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});
beforeEach(() => {
  upstream.script = (_request, response) => sendCompletion(response, '{ "topic": "bill" }');
});

const schema = { type: 'object', properties: { topic: { enum: ['bill', 'parcel'] } }, required: ['topic'] };
const format = { type: 'json_schema' as const, json_schema: { name: 'answer', schema } };
let prompts = 0;
/** A call of a workload of its own. */
const newCall = () => {
  prompts += 1;
  const messages = [
    { role: 'system' as const, content: `Prompt ${prompts}` },
    { role: 'user' as const, content: 'my invoice is wrong' },
  ];
  return { model: 'large', messages, response_format: format };
};
const idOf = ({ messages }: ReturnType<typeof newCall>, asked: unknown = schema) =>
  workloadId(messages[0]!.content, asked);

/** All recorded calls of one workload, once there are so many. */
const recorded = (workload: string, count = 1): Promise<CallObserved[]> =>
  eventually(async () => {
    // The bus may be on its way back.
    const facts = (await stored().catch(() => [])).filter(({ taskDigest }) => taskDigest === workload);
    return facts.length >= count && facts;
  });
const stored = async (): Promise<CallObserved[]> => {
  const { state } = await bus.bus.jsm.streams.info('TRAFFIC');
  const sequences = Array.from({ length: state.messages }, (_, index) => state.first_seq + index);
  const messages = await Promise.all(sequences.map((seq) => bus.bus.jsm.streams.getMessage('TRAFFIC', { seq })));
  return messages.map((message) => decodePayload('call.observed', message!.data));
};

test('a call is recorded with its workload, its pair, its tokens and its price; the workload once', async () => {
  const call = newCall();
  await openai.chat.completions.create(call);
  await openai.chat.completions.create({ ...call, temperature: 0.3 });
  const [first, second] = await recorded(idOf(call), 2);
  const told = { system: call.messages[0]!.content, schemaJson: expect.stringContaining('"enum":["bill","parcel"]') };
  const each = {
    task: `w-${idOf(call).slice(0, 16)}`,
    ...{ upstream: upstream.baseUrl, model: 'large', input: 'my invoice is wrong', output: '{"topic":"bill"}' },
    ...{ inputTokens: 20n, outputTokens: 5n, inputPrice: 2, outputPrice: 8, status: 200, obstacle: '' },
  };
  expect(first).toMatchObject({ ...each, ...told });
  expect(second).toMatchObject(each);
  expect([second!.system, second!.schemaJson]).toEqual([undefined, undefined]);
  expect(first!.callId).not.toBe(second!.callId);
  expect(first!.durationUs).toBeGreaterThan(0n);
});

const events = (...chunks: object[]) =>
  `${chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join('')}data: [DONE]\n\n`;
const delta = (content: object, finish_reason: string | null = null) => ({
  model: 'large-2026-01',
  choices: [{ index: 0, delta: content, finish_reason }],
});

test('the text of a stream is put together; its usage is there where it was asked for', async () => {
  const call = newCall();
  const usage = { choices: [], usage: { prompt_tokens: 9, completion_tokens: 3, total_tokens: 12 } };
  const parts = [
    delta({ role: 'assistant', content: '' }),
    delta({ content: '{"topic":' }),
    delta({ content: '"parcel"}' }),
    delta({}, 'stop'),
  ];
  upstream.script = (_request, response) =>
    response.writeHead(200, { 'content-type': 'text/event-stream' }).end(events(...parts, usage));
  await Array.fromAsync(await openai.chat.completions.create({ ...call, stream: true }));
  expect((await recorded(idOf(call)))[0]).toMatchObject({
    output: '{"topic":"parcel"}',
    inputTokens: 9n,
    outputTokens: 3n,
  });
});

test('the arguments of a forced function are the answer, in a stream too', async () => {
  const { response_format: _, ...bare } = newCall();
  const tools = [{ type: 'function' as const, function: { name: 'sort', parameters: schema } }];
  const call = { ...bare, tools, tool_choice: { type: 'function' as const, function: { name: 'sort' } } };
  const message = (args: string) => ({
    tool_calls: [{ index: 0, id: 'c', type: 'function', function: { name: 'sort', arguments: args } }],
  });
  upstream.script = (_request, response) => {
    const whole = completion('');
    Object.assign(whole.choices[0]!.message, { content: null, ...message('{"topic":"bill"}') });
    response.setHeader('content-type', 'application/json').end(JSON.stringify(whole));
  };
  await openai.chat.completions.create(call);
  const more = { tool_calls: [{ index: 0, function: { arguments: '"parcel"}' } }] };
  upstream.script = (_request, response) =>
    response
      .writeHead(200, { 'content-type': 'text/event-stream' })
      .end(events(delta(message('{"topic":')), delta(more), delta({}, 'tool_calls')));
  await Array.fromAsync(await openai.chat.completions.create({ ...call, stream: true }));
  const facts = await recorded(workloadId(bare.messages[0]!.content, schema), 2);
  expect(facts.map(({ output }) => output)).toEqual(['{"topic":"bill"}', '{"topic":"parcel"}']);
  expect(facts[1]!.inputTokens).toBeUndefined();
});

test('compressed replies are read', async () => {
  for (const [encoding, pack] of [
    ['gzip', gzipSync],
    ['zstd', zstdCompressSync],
  ] as const) {
    const call = newCall();
    upstream.script = (_request, response) =>
      response
        .writeHead(200, { 'content-type': 'application/json', 'content-encoding': encoding })
        .end(pack(JSON.stringify(completion('{"topic":"bill"}'))));
    await gateway.post('/v1/chat/completions', call).then((response) => response.arrayBuffer());
    expect((await recorded(idOf(call)))[0]!.output, encoding).toBe('{"topic":"bill"}');
  }
});

test.each<[string, (call: ReturnType<typeof newCall>) => object, typeof upstream.script | undefined, object]>([
  ['an error', (call) => call, (_r, response) => response.writeHead(429).end('{"error":{}}'), { status: 429 }],
  [
    'a stream that breaks off',
    (call) => call,
    (_r, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(events(delta({ content: 'half' })));
      setTimeout(() => response.destroy(), 20);
    },
    { status: 0 },
  ],
  [
    'an answer that was cut',
    (call) => call,
    (_r, response) =>
      response.end(
        JSON.stringify({ ...completion('{}'), choices: [{ message: { content: '{"to' }, finish_reason: 'length' }] }),
      ),
    { status: 200, inputTokens: 20n },
  ],
  [
    'a refusal',
    (call) => call,
    (_r, response) =>
      response.end(JSON.stringify({ choices: [{ message: { content: null, refusal: 'no' }, finish_reason: 'stop' }] })),
    { status: 200 },
  ],
  ['no JSON', (call) => call, (_r, response) => response.end('<html>'), { status: 200 }],
  [
    'nonsense in the right places',
    (call) => call,
    (_r, response) => response.end('{"choices":[{"message":[]}],"usage":{"prompt_tokens":-1,"completion_tokens":"x"}}'),
    { status: 200 },
  ],
  [
    'an endless answer',
    (call) => call,
    (_r, response) => response.end(JSON.stringify(completion('x'.repeat(maxRecordedReplyBytes)))),
    {},
  ],
  [
    'earlier turns',
    (call) => ({ ...call, messages: [...call.messages, { role: 'user', content: 'more' }] }),
    undefined,
    { obstacle: 'conversation' },
  ],
  ['several choices', (call) => ({ ...call, n: 2 }), undefined, { obstacle: 'options' }],
])('%s is counted without a pair', async (_what, change, script, facts) => {
  const call = newCall();
  if (script) upstream.script = script;
  await gateway
    .post('/v1/chat/completions', change(call))
    .then((response) => response.text())
    .catch(() => '');
  const [fact] = await recorded(idOf(call));
  expect(fact).toMatchObject(facts);
  expect([fact!.input, fact!.output]).toEqual([undefined, undefined]);
  expect(fact!.inputTokens).toBe((facts as { inputTokens?: bigint }).inputTokens ?? (script ? undefined : 20n));
});

test('what is no chat completion passes unrecorded, garbage too', async () => {
  const before = (await stored()).length;
  await gateway.post('/v1/embeddings', { model: 'e', input: 'x' });
  for (const garbage of ['no json', '[]', '{"model":1}', '{"model":"large","messages":7}', '']) {
    await gateway.post('/v1/chat/completions', garbage);
  }
  const call = newCall();
  await openai.chat.completions.create(call);
  await recorded(idOf(call));
  expect((await stored()).length).toBe(before + 1);
});

test('while the bus is away calls wait on disk, and are published when it is back', async () => {
  const call = newCall();
  await bus.server.kill();
  let calls = 0;
  await eventually(async () => {
    await gateway.post('/v1/chat/completions', call);
    calls += 1;
    return (await gateway.metric('understudy_gateway_traffic_spilled_bytes')) > 0;
  });
  await restarted(bus);
  expect(await recorded(idOf(call), calls)).toHaveLength(calls);
});

test('no header of a client is in any record', async () => {
  const { state } = await bus.bus.jsm.streams.info('TRAFFIC');
  expect(state.messages).toBeGreaterThan(10);
  for (let seq = state.first_seq; seq <= state.last_seq; seq += 1) {
    const message = await bus.bus.jsm.streams.getMessage('TRAFFIC', { seq });
    expect(Buffer.from(message!.data).toString('latin1')).not.toContain(canary);
    expect(String(message!.header)).not.toContain(canary);
  }
});

test('recording is off by default, and impossible without an upstream', async () => {
  await using silent = await TestGateway.start(bus.server.url, folder.path, { UPSTREAM_BASE_URL: upstream.baseUrl });
  const before = (await stored()).length;
  await silent.post('/v1/chat/completions', newCall());
  await silent.stop();
  expect((await stored()).length).toBe(before);
  const start = (more: object) => TestGateway.start(bus.server.url, folder.path, { RECORD_CALLS: '1', ...more });
  await expect(start({})).rejects.toThrow('UPSTREAM_BASE_URL');
  writeFileSync(join(folder.path, 'bad.json'), '{"large": {"inputUsdPerMillionTokens": -1}}');
  await expect(start({ ...env(), PRICES_FILE: join(folder.path, 'bad.json') })).rejects.toThrow('PRICES_FILE');
  await expect(start({ ...env(), PRICES_FILE: '/nowhere' })).rejects.toThrow('PRICES_FILE');
});
