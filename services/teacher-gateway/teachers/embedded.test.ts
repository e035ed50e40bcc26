import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createEmbeddedTeacher } from './embedded.ts';
import { type Teacher, TeacherError, type TeacherTask } from './teacher.ts';

const example = (label: string, text: string) => ({ text, answer: JSON.stringify({ label }) });
const single = (labels: string[]) => ({ single: { field: 'label', labels } });

const LABELS = ['weather', 'food', 'music'];
const TASK: TeacherTask = {
  name: 'weather',
  instructions: 'Is it about the weather or about food?',
  schema: { type: 'object' },
  heads: [{ kind: 'choice', name: 'label', values: LABELS.map((label) => JSON.stringify(label)) }],
  ...single(LABELS),
  examples: [
    example('weather', 'It rains all day'),
    example('food', 'The soup is too salty'),
    example('music', 'She plays the violin'),
    example('weather', 'Sunny, with some clouds'),
    example('food', 'Bake the bread for an hour'),
    example('music', 'The choir sang two songs'),
  ],
};
const QUESTIONS = ['Snow is expected tonight', 'I would like a pizza with cheese', 'The band has a new drummer', ''];
const never = new AbortController().signal;

let teacher: Teacher;
beforeAll(async () => {
  teacher = await createEmbeddedTeacher(TASK);
});
afterAll(() => teacher[Symbol.asyncDispose]());

const ask = (text: string, of = teacher) => of.answer({ text }, never);

describe('an answer', () => {
  test('is the most probable label in canonical JSON, with the probability of each', async () => {
    const replies = await Promise.all(QUESTIONS.map((text) => ask(text)));
    for (const { content, soft } of replies) {
      const probabilities = soft!.label!;
      expect(probabilities).toHaveLength(LABELS.length);
      expect(probabilities.reduce((a, b) => a + b)).toBeCloseTo(1, 9);
      const { label } = JSON.parse(content);
      expect(probabilities[LABELS.indexOf(label)]).toBe(Math.max(...probabilities));
      expect(content).toBe(JSON.stringify({ label }));
    }
    expect(replies.slice(0, 3).map(({ content }) => JSON.parse(content).label)).toEqual(LABELS);
  });

  test('says what it took, and who gave it', async () => {
    const { model, version, usage } = await ask('Snow is expected tonight');
    expect(model).toBe('universal-sentence-encoder-lite');
    expect(version).toMatch(/^sha256:[0-9a-f]{16}\/head-\d+$/);
    expect(usage).toEqual({ inputTokens: 5, outputTokens: 0, spentUsd: 0, durationMs: expect.any(Number) });
    expect(teacher.costBound({ text: 'x' })).toEqual({ usd: 0, tokens: 0 });
  });

  test('is the same from every replica, in any order and company', async () => {
    await using replica = await createEmbeddedTeacher(TASK);
    const one = await Promise.all(QUESTIONS.map((text) => ask(text)));
    const other = await Promise.all(QUESTIONS.toReversed().map((text) => ask(text, replica)));
    const content = ({ usage: _, ...reply }: (typeof one)[number]) => reply;
    expect(other.toReversed().map(content)).toEqual(one.map(content));
  });

  test('comes for a very long text too', async () => {
    const { content, usage } = await ask('It rains all day and all night. '.repeat(3_000));
    expect(JSON.parse(content)).toEqual({ label: 'weather' });
    expect(usage.inputTokens).toBe(128);
  });

  test('leaves the event loop free', async () => {
    const usedMs = ({ user, system }: NodeJS.CpuUsage) => (user + system) / 1_000;
    const [here, everywhere] = [process.threadCpuUsage(), process.cpuUsage()];
    await Promise.all(Array.from({ length: 40 }, () => ask('It rains. '.repeat(40))));
    // Processor time, of which a busy machine takes no more: computed in this thread, nearly all of it would be this thread's.
    const ownMs = usedMs(process.threadCpuUsage(here));
    expect(ownMs).toBeLessThan(usedMs(process.cpuUsage(everywhere)) / 2);
  });
});

describe('trouble', () => {
  test.each([
    [
      'no examples',
      { examples: [] },
      'expected at least one for each label, got none for weather, food, music; add some',
    ],
    ['a label without examples', { examples: TASK.examples.slice(0, 2) }, 'got none for music; add some'],
    [
      'an unknown label',
      single(['weather', 'food']),
      'expected example 3 to have one of the labels weather, food, got music',
    ],
    ['several fields', { single: undefined }, 'answers one enum field'],
    [
      'one label',
      { ...single(['weather']), examples: TASK.examples.slice(0, 1) },
      'expected at least two labels, got 1',
    ],
  ])('with %s is told before anything is asked', async (_, wrong, message) => {
    const creating = createEmbeddedTeacher({ ...TASK, ...wrong });
    await expect(creating).rejects.toThrow(message);
    await expect(creating).rejects.toMatchObject({ name: 'TeacherError', failure: 'rejected', retryable: false });
  });

  test('of the one who asked: an abort is answered at once with its reason', async () => {
    const gone = new AbortController();
    const answers = Array.from({ length: 5 }, () => teacher.answer({ text: 'It rains' }, gone.signal));
    gone.abort(new Error('the client went away'));
    for (const answer of answers) await expect(answer).rejects.toThrow('the client went away');
    await expect(teacher.answer({ text: 'x' }, gone.signal)).rejects.toThrow('the client went away');
    expect(JSON.parse((await ask('It rains')).content)).toEqual({ label: 'weather' });
  });

  test('of the thread: pending answers may be tried again, and the next gets a new thread', async () => {
    const born = once(process, 'worker');
    await using mortal = await createEmbeddedTeacher(TASK);
    const [worker] = (await born) as [Worker];
    const before = await ask('It rains', mortal);
    // More than it can answer before it is told, whoever is slow.
    const pending = Array.from({ length: 200 }, () => ask('It rains. '.repeat(40), mortal));
    const settled = Promise.allSettled(pending);
    await worker.terminate();
    const failures = (await settled).filter(({ status }) => status === 'rejected') as PromiseRejectedResult[];
    expect(failures.length).toBeGreaterThan(0);
    for (const { reason } of failures) {
      expect(reason).toBeInstanceOf(TeacherError);
      expect(reason).toMatchObject({ failure: 'overloaded', retryable: true });
    }
    expect((await ask('It rains', mortal)).soft).toEqual(before.soft);
  });

  test('after closing: what is pending and what comes later is told so', async () => {
    const closing = await createEmbeddedTeacher(TASK);
    const pending = Array.from({ length: 10 }, () => ask('It rains', closing));
    const settled = Promise.allSettled(pending);
    await closing[Symbol.asyncDispose]();
    await closing[Symbol.asyncDispose]();
    for (const outcome of await settled) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { failure: 'closed', retryable: true } });
    }
    await expect(ask('It rains', closing)).rejects.toMatchObject({ name: 'TeacherError', failure: 'closed' });
  });
});
