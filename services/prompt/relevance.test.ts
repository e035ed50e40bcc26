import { compileTask, parseTask } from '@understudy/task';
import { describe, expect, test } from 'vitest';
import { relevanceTo } from './relevance.ts';
import { taskOf } from './testing.ts';

const things = [
  'card',
  'transfer',
  'top-up',
  'refund',
  'exchange rate',
  'pin',
  'account',
  'cash withdrawal',
  'direct debit',
  'fee',
];
const asks = [
  (it: string) => `Why was my ${it} declined?`,
  (it: string) => `How long does a ${it} take to arrive?`,
  (it: string) => `I do not recognise a ${it} on my statement`,
  (it: string) => `Please help me, my ${it} is not working any more`,
  (it: string) => `Can I change my ${it} in the app?`,
];
const inputs = asks.flatMap((ask) => things.map(ask));
const isShown = (_: string, index: number) => index % 3 !== 1;
const examples = inputs.filter(isShown).map((text) => ({ input: { text }, output: { label: 'ham' } }));
const belongs = relevanceTo(compileTask(parseTask(taskOf('relevance', { examples }))));

describe('what belongs to a task', () => {
  test('are inputs like its examples, none of which is left out', () => {
    const others = inputs.filter((text, index) => !isShown(text, index));
    expect(others.map(belongs)).toEqual(others.map(() => undefined));
    expect(examples.map(({ input }) => belongs(input.text))).toEqual(examples.map(() => undefined));
  });

  test.each([
    'The mitochondrion is the powerhouse of the cell; its folds enlarge the surface.',
    'const next = await queue.shift(); if (!next) return undefined;',
    'Zwei Bäcker backen morgens ungern Brezeln.',
    '0017-2231-8890 // 55102 // 7',
    '',
  ])('is not %j, and why is told', (text) => {
    expect(belongs(text)).toMatch(
      /^reads unlike the task's examples: \d+% of its letter sequences occur in them, expected at least \d+%$/,
    );
  });
});
