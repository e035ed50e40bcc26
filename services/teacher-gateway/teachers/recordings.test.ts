import { appendFile, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Teacher as TeacherSettings } from '@understudy/task';
import { compileTask } from '@understudy/task';
import { testTask } from '@understudy/task/testing';
import { InputMatcher } from '@understudy/task/versions';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Recordings } from './recordings.ts';
import type { Teacher, TeacherReply, TeacherTask } from './teacher.ts';

const task: TeacherTask = {
  name: 'recorded',
  instructions: 'Which?',
  schema: { type: 'object' },
  heads: [],
  single: undefined,
  examples: [],
};
const settings: TeacherSettings = {
  ...{ kind: 'openai', baseUrl: 'http://127.0.0.1:1/v1', model: 'm', temperature: 0, maxOutputTokens: 16 },
  ...{ rate: { concurrency: 1 }, timeoutMs: 60_000, maxRetries: 0, epoch: 0 },
};
const never = new AbortController().signal;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'understudy-recordings-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Answers with the text, and with how often it was asked. */
const echo = (more: Partial<TeacherReply> = {}): Teacher => {
  let asked = 0;
  return {
    ...{ kind: 'openai', model: 'm', maxConcurrency: 10 },
    costBound: () => ({ usd: 1, tokens: 100 }),
    answer: async ({ text, sampleNumber = 0 }) => {
      asked += 1;
      const usage = { inputTokens: 3, outputTokens: 2, spentUsd: 0.5, durationMs: 7 };
      return { content: `${text} ${sampleNumber} ${asked}`, model: 'm-1', ...more, usage };
    },
    async [Symbol.asyncDispose]() {},
  };
};
const record = (teacher: Teacher, into = new Recordings(folder)) => into.recorded(teacher, task, settings);
const replay = (of = task, as = settings) => new Recordings(folder).replayed(of, as);

test('a replay is the reply that was recorded, at no cost', async () => {
  const soft = { about: [0.25, 0.75] };
  await record(echo({ soft, version: 'v1', cutOff: true })).answer({ text: 'a' }, never);
  const replayed = replay();
  const reply = await replayed.answer({ text: 'a' }, never);
  expect(reply).toMatchObject({ content: 'a 0 1', soft, model: 'm-1', version: 'v1', cutOff: true });
  expect(reply.usage).toEqual({ inputTokens: 3, outputTokens: 2, spentUsd: 0, durationMs: expect.any(Number) });
  expect(replayed.costBound({ text: 'a' })).toEqual({ usd: 0, tokens: 0 });
});

test('what a request is known by is what shapes its answer, and nothing else', async () => {
  const teacher = record(echo());
  await teacher.answer({ text: 'a' }, never);
  await teacher.answer({ text: 'a', sampleNumber: 1 }, never);
  const elsewhere = { ...settings, baseUrl: 'http://127.0.0.1:2/v1', apiKeyEnv: 'SOME_KEY', timeoutMs: 5 };
  const same = replay({ ...task, name: 'other' }, elsewhere);
  expect((await same.answer({ text: 'a', promptId: 'x' }, never)).content).toBe('a 0 1');
  expect((await same.answer({ text: 'a', sampleNumber: 1 }, never)).content).toBe('a 1 2');
  const others = [
    replay({ ...task, instructions: 'Who?' }),
    replay({ ...task, examples: [{ text: 'a', answer: '{}' }] }),
    replay(task, { ...settings, temperature: 1 }),
    replay(task, { ...settings, epoch: 1 }),
  ];
  for (const other of others) await expect(other.answer({ text: 'a' }, never)).rejects.toThrow('no reply');
});

test('a miss says what is missing and how to record it, and is not tried again', async () => {
  await expect(replay().answer({ text: 'b' }, never)).rejects.toMatchObject({
    ...{ failure: 'rejected', retryable: false },
    message: expect.stringMatching(/task recorded.*[0-9a-f]{64}.*TEACHER_RECORD_TO/),
  });
  await rm(folder, { recursive: true });
  await expect(replay().answer({ text: 'b' }, never)).rejects.toThrow('ENOENT');
});

test('the last of several replies is the one', async () => {
  const teacher = record(echo());
  for (let time = 0; time < 3; time += 1) await teacher.answer({ text: 'a' }, never);
  expect((await replay().answer({ text: 'a' }, never)).content).toBe('a 0 3');
});

test('two replicas record at once, and nothing is lost or torn', async () => {
  const replicas = [record(echo()), record(echo())];
  const texts = Array.from({ length: 300 }, (_, index) => `${index} ${'long '.repeat(index)}`);
  await Promise.all(texts.map((text, index) => replicas[index % 2]!.answer({ text }, never)));
  expect(await readdir(folder)).toHaveLength(2);
  const replayed = replay();
  for (const text of texts) expect((await replayed.answer({ text }, never)).content).toMatch(new RegExp(`^${text} 0`));
});

test('a line that was cut off by a kill is left out; one that is no reply is told by its number', async () => {
  await record(echo()).answer({ text: 'a' }, never);
  const [name] = await readdir(folder);
  const line = await readFile(join(folder, name!), 'utf8');
  await appendFile(join(folder, name!), line.slice(0, 50));
  expect((await replay().answer({ text: 'a' }, never)).content).toBe('a 0 1');
  await appendFile(join(folder, name!), '\n');
  await expect(replay().answer({ text: 'a' }, never)).rejects.toThrow(`${name}:2`);
});

test('a reply that cannot be written down is paid all the same', async () => {
  const nowhere = new Recordings('/dev/null/folder').recorded(echo(), task, settings);
  await expect(nowhere.answer({ text: 'a' }, never)).rejects.toMatchObject({ failure: 'rejected', spentUsd: 0.5 });
});

test('replies to forgotten inputs go from every file, and so do replies that hold such an input', async () => {
  const compiled = compileTask(testTask());
  const promptId = compiled.promptId({ text: 'secret' });
  const [one, two] = [new Recordings(folder), new Recordings(folder)];
  await record(echo(), one).answer({ text: 'secret', promptId }, never);
  await record(echo(), one).answer({ text: 'other', promptId: 'f'.repeat(64) }, never);
  const wrote = {
    answer: async () => ({ ...(await echo().answer({ text: '' }, never)), content: '{"inputs":[{"text":"secret"}]}' }),
  };
  await record({ ...echo(), ...wrote }, two).answer({ text: 'write some' }, never);
  const matcher = new InputMatcher([compiled], new Set([promptId]));
  expect(await one.erase(matcher)).toBe(2);
  expect(await one.erase(matcher)).toBe(0);
  const files = await Promise.all((await readdir(folder)).map((name) => readFile(join(folder, name), 'utf8')));
  expect(files.join('')).not.toContain('secret');
  expect(await replay().answer({ text: 'other' }, never)).toMatchObject({ content: 'other 0 1' });
  await record(echo(), one).answer({ text: 'later', promptId: 'e'.repeat(64) }, never);
  expect(await replay().answer({ text: 'later' }, never)).toMatchObject({ content: 'later 0 1' });
});
