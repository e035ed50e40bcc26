import { type TestBus, testBus } from '@understudy/service/testing';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { FakeUpstream, sendCompletion } from '../proxy/testing.ts';
import { deploy, FakeTeacher, LABELS, pairOf, TestGateway, taskOf, temporaryFolder } from '../testing.ts';

let bus: TestBus;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let teacher: FakeTeacher;
let upstream: FakeUpstream;
let gateway: TestGateway;
let openai: OpenAI;
let studentDigest: string;

const instructions = (name: string) => `Say what this message to a help desk is about (${name}).`;
const framed = { template: 'Message:\n{{text}}\n--', maxCharacters: 200, truncate: false };
const overrides = (name: string) => ({
  matchCalls: true,
  prompt: { ...framed, instructions: instructions(name) },
});

beforeAll(async () => {
  [bus, folder, teacher, upstream] = await Promise.all([
    testBus(),
    temporaryFolder(),
    FakeTeacher.start(),
    FakeUpstream.start(),
  ]);
  gateway = await TestGateway.start(bus.server.url, folder.path, {
    TEACHER_GATEWAY_ADDRESS: teacher.address,
    UPSTREAM_BASE_URL: upstream.baseUrl,
  });
  openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: 'sk-of-the-client', maxRetries: 0 });
  const { blobs } = gateway;
  studentDigest = await deploy(bus.bus, blobs, { task: taskOf('sure', overrides('sure')), generation: 1, seed: 7 });
  const unsure = taskOf('unsure', overrides('unsure'));
  await deploy(bus.bus, blobs, { task: unsure, generation: 1, seed: 7, threshold: 1.5 });
  const unmatched = taskOf('unmatched', { ...overrides('unmatched'), matchCalls: false });
  await deploy(bus.bus, blobs, { task: unmatched, generation: 1, seed: 7 });
  for (const name of ['sure', 'unsure', 'unmatched']) await gateway.serves(name, 1);
});
afterAll(async () => {
  await gateway[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
  await teacher[Symbol.asyncDispose]();
  await bus[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});
beforeEach(() => {
  upstream.received.length = 0;
  teacher.asked.length = 0;
  teacher.answers = async (request) => pairOf(request, 'password');
  upstream.script = (_request, response) => sendCompletion(response, 'from upstream');
});

const schema = {
  additionalProperties: false,
  required: ['topic'],
  type: 'object',
  properties: { topic: { enum: LABELS } },
};
const parcel = 'Message:\nthe parcel never came\n--';
type Body = OpenAI.ChatCompletionCreateParamsNonStreaming;
const call = (task: string, user = parcel, change: object = {}): Body => ({
  model: 'large',
  messages: [
    { role: 'system', content: instructions(task) },
    { role: 'user', content: user },
  ],
  response_format: { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema } },
  ...change,
});
const ask = async (body: Body, headers: Record<string, string> = {}) => {
  const { data, response } = await openai.chat.completions.create(body, { headers }).withResponse();
  return { data, headers: response.headers, content: data.choices[0]!.message.content };
};

test('a call that asks what a task asks is answered by its student, under the model that it named', async () => {
  const { data, headers, content } = await ask(call('sure', parcel, { temperature: 0, user: 'someone' }));
  expect(content).toBe('{"topic":"parcel"}');
  expect(data).toMatchObject({ object: 'chat.completion', model: 'large', usage: { completion_tokens: 1 } });
  expect(headers.get('x-understudy-answerer')).toBe('student');
  expect(headers.get('x-understudy-student')).toBe(studentDigest);
  expect(upstream.received).toEqual([]);
});

test('a stream is answered as a stream, a forced function by its call', async () => {
  const stream = openai.chat.completions.stream({ ...call('sure'), stream: true });
  expect((await stream.finalChatCompletion()).choices[0]!.message.content).toBe('{"topic":"parcel"}');
  const { response_format: _, ...bare } = call('sure');
  const tools = [{ type: 'function' as const, function: { name: 'sort', parameters: schema } }];
  const forced = { ...bare, tools, tool_choice: { type: 'function' as const, function: { name: 'sort' } } };
  const { data } = await ask(forced);
  const wanted = { type: 'function', function: { name: 'sort', arguments: '{"topic":"parcel"}' } };
  expect(data.choices[0]!.message).toMatchObject({ content: null, tool_calls: [wanted] });
  const streamed = await openai.chat.completions.stream({ ...forced, stream: true }).finalChatCompletion();
  expect(streamed.choices[0]!.message.tool_calls).toMatchObject([wanted]);
  expect(upstream.received).toEqual([]);
});

test('the teacher is asked where the student is unsure', async () => {
  const { headers, content } = await ask(call('unsure'));
  expect(content).toBe('{"topic":"password"}');
  expect(headers.get('x-understudy-answerer')).toBe('teacher');
  expect(teacher.asked).toMatchObject([{ task: 'unsure', inputJson: '{"text":"the parcel never came"}' }]);
});

test('the upstream answers where nobody here can', async () => {
  teacher.answers = async () => ({ case: 'declined', value: { reason: 1, detail: 'spent' } });
  expect((await ask(call('unsure'))).content).toBe('from upstream');
  const tooLong = `Message:\n${'x'.repeat(300)}\n--`;
  expect((await ask(call('sure', tooLong))).content).toBe('from upstream');
  expect(JSON.parse(upstream.received[1]!.body.toString())).toEqual(call('sure', tooLong));
});

test('anything else about a call makes it the upstream’s', async () => {
  const others: [string, Body][] = [
    ['another prompt', call('other')],
    ['a task that matches no calls', call('unmatched')],
    ['outside the frame', call('sure', 'the parcel never came')],
    ['another schema', { ...call('sure'), response_format: { type: 'json_object' } }],
    ['several choices', call('sure', parcel, { n: 2 })],
    ['log-probabilities', call('sure', parcel, { logprobs: true })],
    ['an unknown parameter', call('sure', parcel, { brand_new: 1 })],
    [
      'earlier turns',
      call('sure', parcel, { messages: [...call('sure').messages, { role: 'user', content: parcel }] }),
    ],
  ];
  for (const [what, body] of others) expect((await ask(body)).content, what).toBe('from upstream');
  // A student's answer must not become a label: teachers' own calls are never matched.
  expect((await ask(call('sure'), { 'x-understudy-teacher': '1' })).content).toBe('from upstream');
  expect(upstream.received).toHaveLength(others.length + 1);
  expect(upstream.received.at(-1)!.headers.join()).not.toContain('x-understudy');
});

test('a task is still asked by its name, and the upstream’s models beside it', async () => {
  const named = await ask({ model: 'sure', messages: [{ role: 'user', content: 'I was charged twice' }] });
  expect(named).toMatchObject({ content: '{"topic":"bill"}', data: { model: 'sure' } });
  upstream.script = (_request, response) => response.end('{"data":[{"id":"large"}]}');
  const models = await Array.fromAsync(openai.models.list());
  expect(models.map(({ id }) => id).sort()).toEqual(['large', 'sure', 'unmatched', 'unsure']);
  expect(await openai.models.retrieve('sure')).toMatchObject({ id: 'sure', owned_by: 'understudy' });
  const error = await ask({ model: 'sure', messages: [] }).catch((thrown) => thrown);
  expect(error).toBeInstanceOf(OpenAI.BadRequestError);
});
