import { compileTask } from '@understudy/task';
import { testTask } from '@understudy/task/testing';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { INPUTS_PER_CALL, MAX_FAILED_CALLS, MAX_FRUITLESS_ROUNDS, WRITING_CONCURRENCY } from '../limits.ts';
import { readWritten } from './read-written.ts';
import type { WritingWords, WrittenSource } from './request.ts';
import { type WritingAnswer, type WritingDesk, writeInputs } from './writing.ts';

const compiled = compileTask(
  testTask({
    examples: [
      { input: { text: 'lunch on friday with the whole team?' }, output: { label: 'ham' } },
      { input: { text: 'you have won a million, claim it today' }, output: { label: 'spam' } },
    ],
    budget: { calls: 100, usd: 0 },
  }),
);

const source = (limit: number, change = {}): WrittenSource => ({
  kind: 'written',
  limit,
  about: '',
  attributes: {},
  ...change,
});

const used = { inputTokens: 100, outputTokens: 20, spentMicroUsd: 3, calls: 1 };
const answered = (texts: unknown[]): WritingAnswer => ({
  ...used,
  content: JSON.stringify({ inputs: texts.map((text) => ({ text })) }),
});

/** A desk whose teacher answers by a function of the number of its call. */
function deskOf(answer: (call: number, words: WritingWords) => WritingAnswer, kept: { state?: string } = {}) {
  const words: WritingWords[] = [];
  const pauses: number[] = [];
  const desk: WritingDesk = {
    ask: async (asked) => {
      words.push(asked);
      return answer(words.length - 1, asked);
    },
    load: async () => kept.state,
    save: async (state) => {
      kept.state = state;
    },
    pause: async (ms) => void pauses.push(ms),
  };
  return { desk, words, pauses, kept };
}

const run = { runId: 'run-1', maxCalls: 50 };
const distinct = (call: number) =>
  Array.from(
    { length: INPUTS_PER_CALL },
    (_, i) => `${'abcdefghijklmnopqrstuvwxyz'.repeat(2).slice(i, i + 9)} ${(call * 7919 + i * 104729) ** 3}`,
  );
const writtenBy = async (desk: WritingDesk, limit: number, as = run) => {
  const { records, report } = writeInputs(compiled, source(limit), as, desk);
  return { records: await Array.fromAsync(records), report };
};

describe('inputs that a teacher writes', () => {
  test('are asked for until there are enough, by other words each time, and counted', async () => {
    const { desk, words } = deskOf((call) => answered(distinct(call)));
    const { records, report } = await writtenBy(desk, 75);
    expect(records).toHaveLength(75);
    expect(report()).toMatchObject({
      calls: 8,
      written: 80,
      kept: 80,
      reason: '',
      spentMicroUsd: 24n,
      inputTokens: 800n,
    });
    expect(new Set(words.map(({ text }) => text)).size).toBe(words.length);
    for (const { instructions, text } of words) {
      expect(instructions).toContain('Sort mail.');
      expect(text).toContain('lunch on friday');
    }
    const wanted = words.map(({ text }) => /right answer to each of them should be (\{.*\})/.exec(text)?.[1]);
    expect(new Set(wanted)).toEqual(new Set(['{"label":"ham"}', '{"label":"spam"}']));
    expect(words.at(-1)?.text).toMatch(/These exist already; do not repeat or reword them:\n\{"text":/);
  });

  test('that repeat an example or another input, word for word or nearly, are counted and left out', async () => {
    const { desk } = deskOf((call) =>
      call > 0
        ? answered([])
        : answered([
            'lunch on friday with the whole team?',
            '  Lunch on Friday with the whole team? ',
            'shall we meet at the station at nine tomorrow morning',
            'shall we meet at the station at nine tomorrow morning!',
            '',
            7,
          ]),
    );
    const { records, report } = await writtenBy(desk, 20);
    expect(records).toEqual([
      { position: 'written:1', input: { text: 'shall we meet at the station at nine tomorrow morning' } },
    ]);
    expect(report()).toMatchObject({ written: 5, kept: 1, exactDuplicates: 1, nearDuplicates: 2, unusable: 1 });
  });

  test('end when the teacher has no more to give, or writes nothing that can be read', async () => {
    const { desk } = deskOf((call) =>
      call === 0 ? answered(distinct(0)) : { ...used, content: 'I would rather not.' },
    );
    const { records, report } = await writtenBy(desk, 500);
    expect(records).toHaveLength(INPUTS_PER_CALL);
    const calls = (MAX_FRUITLESS_ROUNDS + 1) * WRITING_CONCURRENCY;
    expect(report()).toMatchObject({
      calls,
      unreadableAnswers: calls - 1,
      reason: expect.stringMatching(/^nothing new in \d+ calls/),
    });
    await expect(writtenBy(deskOf(() => answered([])).desk, 5)).rejects.toThrow(
      /expected the teacher to write inputs, got none: nothing new/,
    );
  });

  test('never take more calls than they may, and a failure that passes is waited for', async () => {
    const failed = { ...used, failure: { detail: 'overloaded', passing: true } };
    const { desk, pauses } = deskOf((call) => (call < 4 ? failed : answered(distinct(call))));
    const { report } = await writtenBy(desk, 1_000, { runId: 'run-1', maxCalls: 10 });
    expect(report()).toMatchObject({ calls: 10, kept: 60, reason: '10 calls were not enough' });
    expect(pauses).toHaveLength(1);
    const away = deskOf(() => failed);
    await expect(writtenBy(away.desk, 50)).rejects.toThrow(/got none: overloaded/);
    expect(away.pauses).toHaveLength(MAX_FAILED_CALLS - 1);
    const spent = deskOf(() => ({ ...used, failure: { detail: 'the budget is spent', passing: false } }));
    await expect(writtenBy(spent.desk, 50)).rejects.toThrow(/the budget is spent/);
    expect(spent.words).toHaveLength(WRITING_CONCURRENCY);
  });

  test('are not paid twice: not after a crash, not in a later run', async () => {
    const kept: { state?: string } = {};
    const dying = deskOf((call) => {
      if (call >= 4) throw new Error('killed');
      return answered(distinct(call));
    }, kept);
    await expect(writtenBy(dying.desk, 75)).rejects.toThrow('killed');
    const again = deskOf((call) => answered(distinct(call + 4)), kept);
    const { records, report } = await writtenBy(again.desk, 75);
    expect(again.words).toHaveLength(4);
    expect(again.words[0]?.text).not.toBe(dying.words[0]?.text);
    expect(report()).toMatchObject({ calls: 8, kept: 80 });
    const later = deskOf(() => answered([]), kept);
    const second = await writtenBy(later.desk, 75, { runId: 'run-2', maxCalls: 50 });
    expect(second.records).toEqual(records);
    expect(second.report()).toMatchObject({ calls: 0, spentMicroUsd: 0n, written: 0, kept: 80 });
  });
});

describe('what a teacher wrote', () => {
  test.each<[string, string, unknown[]]>([
    ['as asked', '{"inputs":[{"text":"a"},{"text":"b"}]}', ['a', 'b']],
    ['in a fence with prose', 'Sure!\n```json\n{"inputs":[{"text":"a"}]}\n```\nMore?', ['a']],
    ['cut off', '{"inputs":[{"text":"a {x}"},{"text":"b"},{"te', ['a {x}', 'b']],
    ['one object a line', '{"text":"a"}\n{"text":"b"}', ['a', 'b']],
    ['a bare list', '["a","b"]', ['a', 'b']],
    ['other names', '{"emails":[{"text":"a","label":"ham"}]}', ['a']],
    ['no JSON', 'a, b and c', []],
    ['other fields', '{"inputs":[{"body":"a"}]}', []],
  ])('is understood %s', (_, content, texts) => {
    expect(readWritten(content, ['text']).map(({ text }) => text)).toEqual(texts);
  });

  test('may be anything, however deep or long', () => {
    fc.assert(fc.property(fc.string(), (content) => void readWritten(content, ['text'])));
    expect(readWritten(`${'['.repeat(100_000)}`, ['text'])).toEqual([]);
    expect(readWritten(`${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}`, ['text'])).toEqual([]);
    expect(readWritten(`{"${'\\\\"'.repeat(200_000)}`, ['text'])).toEqual([]);
  });
});
