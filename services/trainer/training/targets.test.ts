import { create } from '@bufbuild/protobuf';
import { type Pair, PairSchema } from '@understudy/contract';
import { outputPlan } from '@understudy/task';
import { expect, it } from 'vitest';
import { mergedTarget, type Sample, sampleOf } from './targets.ts';

const plan = outputPlan({
  type: 'object',
  properties: {
    label: { enum: ['ham', 'spam'] },
    tags: { type: 'array', uniqueItems: true, items: { enum: ['a', 'b'] } },
    who: { type: 'string', 'x-copied-from': 'text' },
  },
  required: ['label', 'tags'],
  additionalProperties: false,
});
const at = (name: string): number => plan.heads.findIndex((head) => head.name === name);

const pairOf = (answer: Record<string, unknown>, soft: Pair['soft'] = []): Pair =>
  Object.assign(create(PairSchema, { pairId: '1', text: 'Ada wrote', answerJson: JSON.stringify(answer) }), { soft });

const sample = (answer: Record<string, unknown>, soft?: Pair['soft']): Sample => {
  const given = sampleOf(pairOf(answer, soft), plan, 'here');
  if ('reason' in given) throw new Error(given.reason);
  return given;
};

const HAM = { label: 'ham', tags: ['a'], who: 'Ada' };
const SPAM = { label: 'spam', tags: [] };

it('an answer becomes a value of each head, with the probabilities that the teacher gave', () => {
  const soft = [{ head: 'label', probabilities: [0.25, 0.75] }] as Pair['soft'];
  const { target } = sample(SPAM, soft);
  expect(target[at('label')]).toEqual({ value: { kind: 'choice', index: 1 }, probabilities: [0.25, 0.75] });
  expect(target[at('tags')]).toEqual({ value: { kind: 'tags', indices: [] } });
  expect(sample(HAM).target[at('who')]).toEqual({ value: { kind: 'span', spans: [[0, 3]] } });
});

it('several answers to a prompt are the most frequent one, with the share of each', () => {
  const { answerJson, target } = mergedTarget(plan.heads, [sample(HAM), sample(SPAM), sample(SPAM), sample(SPAM)]);
  expect(answerJson).toBe(JSON.stringify(SPAM));
  expect(target[at('label')]).toEqual({ value: { kind: 'choice', index: 1 }, probabilities: [0.25, 0.75] });
  expect(target[at('tags')]).toEqual({ value: { kind: 'tags', indices: [] }, probabilities: [0.25, 0] });
  expect(target[at('who')]).toEqual({ value: { kind: 'span', spans: [] } });
  expect(mergedTarget(plan.heads, [sample(HAM), sample(SPAM)]).answerJson).toBe(JSON.stringify(HAM));
});

it('an answer that copies what is not in the text is no example, and says why', () => {
  expect(sampleOf(pairOf({ ...HAM, who: 'Bob' }), plan, 'here')).toEqual({ reason: 'who: span-not-in-text' });
});

it.each([
  ['a label that the task does not have', { ...HAM, label: 'lost' }, undefined, 'the task allows no such answer'],
  ['a label of a set that it does not have', { ...HAM, tags: ['c'] }, undefined, 'the task allows no such answer'],
  ['probabilities of a head that it does not have', HAM, 'colour', 'has probabilities of "colour"'],
])('%s ends the order', (_, answer, head, message) => {
  const soft = head ? ([{ head, probabilities: [1] }] as Pair['soft']) : [];
  expect(() => sampleOf(pairOf(answer, soft), plan, 'here')).toThrow(message);
});
