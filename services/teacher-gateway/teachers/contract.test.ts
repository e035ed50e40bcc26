/** What every kind of teacher does alike, and what those that are asked over a network do. */
import { type ChildProcess, spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { AddressRules } from '@understudy/service/outbound';
import { NatsServer } from '@understudy/service/testing';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createAnthropicTeacher } from './anthropic.ts';
import { createEmbeddedTeacher } from './embedded.ts';
import { retryAfterOf } from './http-failures.ts';
import { createNatsTeacher } from './nats.ts';
import { createOnnxTeacher } from './onnx.ts';
import { type TinyModel, tinyModel } from './onnx-testing.ts';
import { createOpenAiTeacher } from './openai.ts';
import { RequestInbox } from './request-inbox.ts';
import { softLabelsFault } from './soft-labels.ts';
import { type Teacher, TeacherError, type TeacherTask } from './teacher.ts';

const labels = ['weather', 'food', 'music'];
const examples = ['It rains all day', 'The soup is too salty', 'She plays the violin'];
const task: TeacherTask = {
  name: 'contract-test',
  instructions: 'What is it about?',
  schema: {
    type: 'object',
    properties: { about: { enum: labels } },
    required: ['about'],
    additionalProperties: false,
  },
  heads: [{ kind: 'choice', name: 'about', values: labels.map((label) => JSON.stringify(label)) }],
  single: { field: 'about', labels },
  examples: examples.map((text, index) => ({ text, answer: JSON.stringify({ about: labels[index] }) })),
};
const structured: TeacherTask = {
  ...task,
  schema: {
    type: 'object',
    properties: {
      about: { enum: labels },
      urgent: { type: 'boolean' },
      score: { type: 'integer', minimum: 0, maximum: 5 },
      place: { type: ['string', 'null'], 'x-copied-from': 'text' },
      tags: { type: 'array', items: { enum: ['new', 'old'] }, minItems: 1 },
    },
    required: ['about', 'urgent', 'score', 'place', 'tags'],
    additionalProperties: false,
  },
  heads: [...task.heads, { kind: 'choice', name: 'urgent', values: ['true', 'false'] }],
  single: undefined,
  examples: [],
};
const pricing = { inputUsdPerMillionTokens: 1, outputUsdPerMillionTokens: 4 };
/** Patience for a machine that has other things to do; tests of slow teachers have less. */
const limits = { rate: { concurrency: 16 }, timeoutMs: 20_000, maxRetries: 0, epoch: 0, pricing };
const key = 'canary-5e1f-0000';

let server: NatsServer;
let nc: NatsConnection;
let inbox: RequestInbox;
let model: TinyModel;
const fakes: ChildProcess[] = [];
const ports = { openai: 0, anthropic: 0 };

const fake = async (program: string, ...args: string[]): Promise<number> => {
  const child = spawn(process.execPath, [resolve(import.meta.dirname, '../../../test/fakes', program), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  fakes.push(child);
  for await (const line of createInterface({ input: child.stdout! })) {
    const port = Number(/^listening on (\d+)$/.exec(line)?.[1]);
    if (port) return port;
  }
  throw new Error(`${program} ended before it listened`);
};

beforeAll(async () => {
  [server, model, ports.anthropic] = await Promise.all([
    NatsServer.start(),
    tinyModel('classifier'),
    fake('anthropic.ts'),
  ]);
  nc = await connect({ servers: server.url });
  inbox = new RequestInbox(nc, '_INBOX.test');
  ports.openai = await fake('teacher.ts', JSON.stringify({ natsUrl: server.url }));
});
afterAll(async () => {
  for (const child of fakes) child.kill();
  await model[Symbol.asyncDispose]();
  await nc.close();
  await server[Symbol.asyncDispose]();
});

const loopback = new AddressRules(['loopback']);
const surroundings = (env: NodeJS.ProcessEnv = {}, addresses = loopback) => ({ env, addresses });

const openAi = (overrides: object = {}, of = task, around = surroundings()): Promise<Teacher> => {
  const baseUrl = `http://127.0.0.1:${ports.openai}/v1`;
  const fixed = { kind: 'openai', baseUrl, model: 'fake', temperature: 0, maxOutputTokens: 16 } as const;
  return Promise.resolve(createOpenAiTeacher(of, { ...fixed, ...limits, ...overrides }, around));
};
const anthropic = (
  overrides: object = {},
  of = task,
  around = surroundings({ ANTHROPIC_API_KEY: key }),
): Promise<Teacher> => {
  const baseUrl = `http://127.0.0.1:${ports.anthropic}`;
  const fixed = { kind: 'anthropic', baseUrl, model: 'fake', maxOutputTokens: 16 } as const;
  return Promise.resolve(createAnthropicTeacher(of, { ...fixed, ...limits, ...overrides }, around));
};
const onBus = (overrides: object = {}, of = task): Promise<Teacher> => {
  const fixed = { kind: 'nats', subject: 'models.fake', model: 'fake' } as const;
  const bus = { inbox, naming: { prefix: 'shared' } };
  return Promise.resolve(createNatsTeacher(of, { ...fixed, ...limits, ...overrides }, bus));
};
const embedded = (_overrides: object = {}, of = task) => createEmbeddedTeacher(of);
const onnx = (_overrides: object = {}, of = task) =>
  createOnnxTeacher(of, { ...limits, kind: 'onnx', model: 'tiny', folder: model.folder, labels: {} });

/** Each with the fake process that stands for it, told how to behave. */
const behave = async (name: string, behaviour: { failure?: string; latencyMs?: number; retryAfterMs?: number }) => {
  const { failure, ...rest } = behaviour;
  const body = name === 'anthropic' ? behaviour : { ...rest, ...(failure ? { failures: { [failure]: 1 } } : {}) };
  const port = name === 'anthropic' ? ports.anthropic : ports.openai;
  await fetch(`http://127.0.0.1:${port}/behave`, { method: 'POST', body: JSON.stringify(body) });
};
afterEach(() => Promise.all(['openai', 'anthropic'].map((name) => behave(name, {}))));

const remote = [
  ['openai', openAi],
  ['anthropic', anthropic],
  ['nats', onBus],
] as const;
const kinds = [...remote, ['embedded', embedded], ['onnx', onnx]] as const;
const never = new AbortController().signal;
const asking = (teacher: Teacher, signal: AbortSignal = never) =>
  teacher.answer({ text: 'hello there' }, signal).catch((error: unknown) => error);

describe.each(kinds)('%s', (name, create) => {
  let teacher: Teacher;
  beforeAll(async () => {
    teacher = await create();
  });
  afterAll(() => teacher[Symbol.asyncDispose]());

  test('answers with what fits the schema, says who answered and what it took, below the bound', async () => {
    const reply = await teacher.answer({ text: 'hello there', promptId: 'a'.repeat(64) }, never);
    expect(labels).toContain(JSON.parse(reply.content).about);
    expect(Object.keys(JSON.parse(reply.content))).toEqual(['about']);
    expect(teacher.kind).toBe(name);
    expect(reply.model).not.toBe('');
    expect(softLabelsFault(reply.soft ?? {}, task.heads)).toBeUndefined();
    const { inputTokens, outputTokens, spentUsd, durationMs } = reply.usage;
    const bound = teacher.costBound({ text: 'hello there' });
    expect(spentUsd).toBeCloseTo(bound.usd === 0 ? 0 : (inputTokens + 4 * outputTokens) / 1e6, 12);
    expect(spentUsd).toBeLessThanOrEqual(bound.usd);
    expect(durationMs).toBeGreaterThan(0);
  });

  test('answers each of many questions with its own answer', async () => {
    const texts = [...examples, 'Sunny, with clouds', ''].flatMap((text) => [text, `${text} `, `${text}!`]);
    const together = await Promise.all(texts.map((text) => teacher.answer({ text }, never)));
    for (const [index, text] of texts.entries()) {
      expect(together[index]!.content, text).toBe((await teacher.answer({ text }, never)).content);
    }
  });

  test('answers a strange text as well as another', async () => {
    for (const text of ['', ' ', '\n', '\u0000', '\ud800', '{"about":"food"}', '\u{1F600}'.repeat(500)]) {
      expect(labels, JSON.stringify(text)).toContain(JSON.parse((await teacher.answer({ text }, never)).content).about);
    }
  });

  test('is left when its caller leaves, and says that it was closed when it was', async () => {
    await behave(name, { latencyMs: 300 });
    const closing = await create();
    const abort = new AbortController();
    const aborted = asking(closing, abort.signal);
    const pending = Array.from({ length: 20 }, () => asking(closing));
    abort.abort(new Error('enough'));
    expect(await aborted).toMatchObject({ message: 'enough' });
    expect(await asking(closing, abort.signal)).toMatchObject({ message: 'enough' });
    await closing[Symbol.asyncDispose]();
    await closing[Symbol.asyncDispose]();
    const ends = await Promise.all([...pending, asking(closing)]);
    // A local model may have answered some of them already.
    expect(ends.at(-1)).toMatchObject({ name: 'TeacherError', failure: 'closed', retryable: true });
    for (const end of ends) if (end instanceof Error) expect(end).toMatchObject({ failure: 'closed' });
  });

  test('answers several fields, or refuses the task before anything is asked', async () => {
    const creating = create({ maxOutputTokens: 100 }, structured);
    if (!remote.some(([each]) => each === name)) {
      await expect(creating).rejects.toMatchObject({
        failure: 'rejected',
        message: expect.stringContaining('answers one enum field'),
      });
      return;
    }
    await using able = await creating;
    const { content } = await able.answer({ text: 'Rome wants rain' }, never);
    // What the fakes make of the word Rome and the schema that reached them: Anthropic takes no bounds of numbers.
    const score = name === 'anthropic' ? 0 : 5;
    expect(JSON.parse(content)).toEqual({ about: 'food', urgent: false, score, place: 'Rome', tags: ['old'] });
  });
});

describe.each(remote)('%s', (name, create) => {
  test.each([
    ['unauthorized', 'unauthorized', false],
    ['rate-limited', 'rate-limited', true],
    ['server-error', 'overloaded', true],
    ['truncated', 'malformed', true],
  ] as const)('%s is %s, retryable: %s', async (failure, told, retryable) => {
    await behave(name, { failure, retryAfterMs: 2_000 });
    await using teacher = await create();
    const error = await asking(teacher);
    expect(error).toBeInstanceOf(TeacherError);
    const retryAfterMs = failure === 'rate-limited' ? 2_000 : undefined;
    expect(error).toMatchObject({ failure: told, retryable, retryAfterMs });
  });

  test('a slow one is left by its own limit or its caller', async () => {
    await behave(name, { failure: 'slow' });
    await using teacher = await create({ timeoutMs: 300 });
    const tooSlow = new TeacherError('timeout', 'too slow');
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(tooSlow), 400);
    expect(await asking(teacher, patience.signal)).toMatchObject({ failure: 'timeout' });
    clearTimeout(timer);
  });
});

describe.each([remote[0], remote[1]])('%s over HTTP', (name, create) => {
  test('a connection that breaks is unreachable, and may have been paid', async () => {
    await behave(name, { failure: 'reset' });
    await using teacher = await create();
    expect(await asking(teacher)).toMatchObject({ failure: 'unreachable', unsettled: true });
  });

  test('that is not there is unreachable, costs nothing, and the message names what to check', async () => {
    await using away = await create({ baseUrl: 'http://127.0.0.1:1/v1' });
    const message = expect.stringContaining('teacher.baseUrl');
    expect(await asking(away)).toMatchObject({ failure: 'unreachable', spentUsd: 0, message });
  });

  test.each(['http://169.254.169.254/v1', 'http://10.0.0.1', 'http://[::ffff:192.168.0.1]', 'http://0/'])(
    '%s is not asked',
    async (baseUrl) => {
      await using teacher = await create({ baseUrl });
      expect(await asking(teacher)).toMatchObject({
        failure: 'rejected',
        message: expect.stringMatching(/no public address.*teacher\.baseUrl.*TEACHER_ALLOWED_ADDRESSES/),
      });
    },
  );

  test('a name that leads to this machine is not asked unless that is allowed', async () => {
    const strict = surroundings({ ANTHROPIC_API_KEY: key }, new AddressRules([]));
    const port = name === 'openai' ? `${ports.openai}/v1` : ports.anthropic;
    await using teacher = await create({ baseUrl: `http://localhost:${port}` }, task, strict);
    expect(await asking(teacher)).toMatchObject({
      failure: 'rejected',
      message: expect.stringMatching(/^localhost is (127\.0\.0\.1|::1)/),
    });
  });

  test('a key that is named and missing is told by its name', async () => {
    await expect(async () => create({ apiKeyEnv: 'NO_SUCH_KEY' })).rejects.toThrow(/NO_SUCH_KEY/);
    await expect(async () => create({ apiKeyFile: '/no/such/file' })).rejects.toThrow(/no\/such\/file/);
  });
});

describe('anthropic', () => {
  test.each([
    ['overloaded', { failure: 'overloaded', retryable: true }],
    ['error-in-body', { failure: 'overloaded', retryable: true, unsettled: true }],
    ['redirect', { failure: 'rejected', message: expect.stringContaining('redirects are not followed') }],
    ['no-content', { failure: 'malformed', message: expect.stringContaining('end_turn') }],
    ['refusal', { failure: 'rejected', message: expect.stringContaining('not that'), spentUsd: 40 / 1e6 }],
  ])('%s is told as what it is', async (failure, told) => {
    await behave('anthropic', { failure });
    await using teacher = await anthropic();
    expect(await asking(teacher)).toMatchObject(told);
  });

  test('an answer that was cut off is given with that mark', async () => {
    await behave('anthropic', { failure: 'max-tokens' });
    await using teacher = await anthropic();
    expect(await asking(teacher)).toMatchObject({ content: '{"ab', cutOff: true });
  });

  test('without a key of its own in the task, the vendor’s variable is named', () => {
    expect(() => anthropic({}, task, surroundings({}))).toThrow(/ANTHROPIC_API_KEY/);
  });

  test('a key that the server repeats, in text and headers, is in no error, nor in its causes', async () => {
    await behave('anthropic', { failure: 'unauthorized' });
    await using teacher = await anthropic();
    let told = '';
    for (let error = await asking(teacher); error instanceof Error; error = error.cause) {
      const headers = 'headers' in error ? [...(error.headers as Headers)] : [];
      told += `${error.stack} ${JSON.stringify(error)} ${JSON.stringify(headers)}`;
    }
    expect(told).toContain('invalid credentials: Bearer [key]');
    expect(told).toContain('["x-echo","Bearer [key]"]');
    expect(told).not.toContain(key);
  });
});

test('openai: no choices are malformed', async () => {
  await behave('openai', { failure: 'no-choices' });
  await using teacher = await openAi();
  expect(await asking(teacher)).toMatchObject({ failure: 'malformed' });
});

test('nats: nobody there is unreachable, a subject of the platform is refused before anything is sent there', async () => {
  await using silent = await onBus({ subject: 'models.nobody' });
  const message = expect.stringContaining('models.nobody');
  expect(await asking(silent)).toMatchObject({ failure: 'unreachable', message });
  for (const subject of ['shared.student.promoted.some-task', '$JS.API.STREAM.PURGE.FACTS', 'shared.eval.passed']) {
    expect(() => onBus({ subject })).toThrow(/belongs to the platform/);
  }
});

test('nats: probabilities come by label, and those of no label are malformed', async () => {
  const reply = (distribution: object) => JSON.stringify({ content: '{"about":"food"}', distribution });
  const replies = [reply({ food: 0.75, music: 0.25 }), reply({ food: 0.5, sport: 0.5 })];
  const subscription = nc.subscribe('models.sure', {
    callback: (_, message) => void message.respond(replies.shift()!),
  });
  await using teacher = await onBus({ subject: 'models.sure' });
  expect(await asking(teacher)).toMatchObject({ soft: { about: [0, 0.75, 0.25] } });
  expect(await asking(teacher)).toMatchObject({ failure: 'malformed', message: expect.stringContaining('sport') });
  subscription.unsubscribe();
});

test('Retry-After is read in milliseconds, seconds and as a date', () => {
  expect(retryAfterOf(new Headers({ 'retry-after-ms': '1500' }))).toBe(1_500);
  expect(retryAfterOf(new Headers({ 'retry-after': '2' }))).toBe(2_000);
  const soon = retryAfterOf(new Headers({ 'retry-after': new Date(Date.now() + 60_000).toUTCString() }))!;
  expect(soon).toBeGreaterThan(50_000);
  expect(soon).toBeLessThanOrEqual(60_000);
  expect(retryAfterOf(new Headers({ 'retry-after': 'soon' }))).toBeUndefined();
  expect(retryAfterOf(undefined)).toBeUndefined();
});
