import { type ChildProcess, spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { AddressRules } from '@understudy/service/outbound';
import { NatsServer } from '@understudy/service/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { retryAfterOf } from './http-failures.ts';
import { createNatsTeacher } from './nats.ts';
import { createOpenAiTeacher } from './openai.ts';
import { RequestInbox } from './request-inbox.ts';
import { type Teacher, TeacherError, type TeacherTask } from './teacher.ts';

const task: TeacherTask = {
  name: 'remote-test',
  instructions: 'Which team?',
  schema: {
    type: 'object',
    properties: { team: { enum: ['a', 'b'] } },
    required: ['team'],
    additionalProperties: false,
  },
  heads: [{ kind: 'choice', name: 'team', values: ['"a"', '"b"'] }],
  single: { field: 'team', labels: ['a', 'b'] },
  examples: [{ text: 'an example', answer: '{"team":"a"}' }],
};
const pricing = { inputUsdPerMillionTokens: 1, outputUsdPerMillionTokens: 4 };
const limits = { rate: { concurrency: 16 }, timeoutMs: 300, maxRetries: 0, epoch: 0, pricing };

let server: NatsServer;
let nc: NatsConnection;
let inbox: RequestInbox;
let fake: ChildProcess;
let port: number;

beforeAll(async () => {
  server = await NatsServer.start();
  nc = await connect({ servers: server.url });
  inbox = new RequestInbox(nc, '_INBOX.test');
  const program = resolve(import.meta.dirname, '../../../test/fakes/teacher.ts');
  fake = spawn(process.execPath, [program, JSON.stringify({ natsUrl: server.url })], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface({ input: fake.stdout! })) {
    port = Number(/^listening on (\d+)$/.exec(line)?.[1]);
    if (port) break;
  }
});
afterAll(async () => {
  fake.kill();
  await nc.close();
  await server[Symbol.asyncDispose]();
});

const behave = (behaviour: object) =>
  fetch(`http://127.0.0.1:${port}/behave`, { method: 'POST', body: JSON.stringify(behaviour) });

const loopback = new AddressRules(['loopback']);
const openAi = (overrides: object = {}, env = {}, addresses = loopback): Teacher =>
  createOpenAiTeacher(
    task,
    {
      kind: 'openai',
      baseUrl: `http://127.0.0.1:${port}/v1`,
      model: 'fake',
      temperature: 0,
      maxOutputTokens: 16,
      ...limits,
      ...overrides,
    },
    { env, addresses },
  );
const onBus = (overrides: object = {}): Teacher =>
  createNatsTeacher(
    task,
    { kind: 'nats', subject: 'models.fake', model: 'fake', ...limits, ...overrides },
    { inbox, naming: { prefix: 'shared' } },
  );

const kinds = [
  ['openai', openAi],
  ['nats', onBus],
] as const;

const tooSlow = new TeacherError('timeout', 'too slow');
const patience = () => {
  const ending = new AbortController();
  setTimeout(() => ending.abort(tooSlow), limits.timeoutMs).unref();
  return ending.signal;
};
const asking = (teacher: Teacher, signal: AbortSignal = patience()) =>
  teacher.answer({ text: 'hello there' }, signal).catch((error: unknown) => error);

test.each(kinds)('%s: an answer comes with its model, its tokens and its cost, below the bound', async (_, create) => {
  await behave({});
  await using teacher = create();
  const reply = await teacher.answer({ text: 'hello there' }, new AbortController().signal);
  expect(JSON.parse(reply.content)).toEqual({ team: expect.stringMatching(/^[ab]$/) });
  expect(reply.model).toBe('fake-2026-01');
  expect(reply.usage).toMatchObject({ inputTokens: 20, outputTokens: 5, spentUsd: 40 / 1_000_000 });
  expect(reply.usage.spentUsd).toBeLessThanOrEqual(teacher.costBound({ text: 'hello there' }).usd);
});

test.each(
  kinds.flatMap(([name, create]) =>
    (
      [
        ['unauthorized', 'unauthorized', false],
        ['rate-limited', 'rate-limited', true],
        ['server-error', 'overloaded', true],
        ['slow', 'timeout', true],
        ['truncated', 'malformed', true],
      ] as const
    ).map(([kind, failure, retryable]) => [name, kind, failure, retryable, create] as const),
  ),
)('%s: %s is %s, retryable: %s', async (_name, kind, failure, retryable, create) => {
  await behave({ failures: { [kind]: 1 }, slowMs: 1_000, retryAfterMs: 2_000 });
  await using teacher = create();
  const error = await asking(teacher);
  expect(error).toBeInstanceOf(TeacherError);
  expect(error).toMatchObject({ failure, retryable, retryAfterMs: kind === 'rate-limited' ? 2_000 : undefined });
});

test.each([
  ['reset', 'unreachable'],
  ['no-choices', 'malformed'],
] as const)('openai: %s is %s', async (kind, failure) => {
  await behave({ failures: { [kind]: 1 } });
  await using teacher = openAi();
  expect(await asking(teacher)).toMatchObject({ failure });
});

test('a teacher that is not there is unreachable, and the message names what to check', async () => {
  await using away = openAi({ baseUrl: 'http://127.0.0.1:1/v1' });
  expect(await asking(away)).toMatchObject({
    failure: 'unreachable',
    message: expect.stringContaining('teacher.baseUrl'),
  });
  await using silent = onBus({ subject: 'models.nobody' });
  expect(await asking(silent)).toMatchObject({
    failure: 'unreachable',
    message: expect.stringContaining('models.nobody'),
  });
});

test.each(kinds)('%s: an abort ends the call with its reason; closing ends it as closed', async (_, create) => {
  await behave({ latencyMs: 200 });
  await using teacher = create();
  const abort = new AbortController();
  const aborted = asking(teacher, abort.signal);
  const closed = asking(teacher);
  abort.abort(new Error('enough'));
  expect(await aborted).toMatchObject({ message: 'enough' });
  await teacher[Symbol.asyncDispose]();
  expect(await closed).toMatchObject({ failure: 'closed' });
});

test('a key that is named and missing is told by its name; a key that is there appears in no message', async () => {
  expect(() => openAi({ apiKeyEnv: 'NO_SUCH_KEY' })).toThrow(/NO_SUCH_KEY/);
  expect(() => openAi({ apiKeyFile: '/no/such/file' })).toThrow(/no\/such\/file/);
  await behave({ failures: { unauthorized: 1 } });
  await using teacher = openAi({ apiKeyEnv: 'THE_KEY' }, { THE_KEY: 'canary-5e1f' });
  const error = await asking(teacher);
  expect(String((error as Error).stack) + JSON.stringify(error)).not.toContain('canary-5e1f');
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

test('a subject of the platform itself is refused before anything is sent there', () => {
  for (const subject of ['shared.student.promoted.some-task', '$JS.API.STREAM.PURGE.FACTS', 'shared.eval.passed']) {
    expect(() => onBus({ subject })).toThrow(/belongs to the platform/);
  }
});

test('an address where a cloud keeps its credentials is not asked', async () => {
  await using teacher = openAi({ baseUrl: 'http://169.254.169.254/v1' });
  expect(await asking(teacher)).toMatchObject({ failure: 'rejected', message: expect.stringContaining('baseUrl') });
});
