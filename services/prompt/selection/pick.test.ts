import type { Prediction } from '@understudy/student';
import type { Head } from '@understudy/task/output/head';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { doubtOf } from './doubt.ts';
import { pickBatch } from './pick.ts';

const doubtful = (text: string, doubt = 1) => ({ text, doubt });

test('the unsure go first, and among equals what is unlike all that was answered', () => {
  const candidates = [
    doubtful('where is my card', 0.1),
    doubtful('my card is late', 0.9),
    doubtful('zebra crossing', 0.9),
  ];
  expect(pickBatch(candidates, ['my card was late', 'the card is late again'], 3)).toEqual([2, 1, 0]);
});

test('a batch does not ask one thing again and again', () => {
  const alike = Array.from({ length: 30 }, (_, i) => doubtful(`please cancel the order number ${i}`, 0.9));
  const others = ['refund', 'wrong colour of the sofa', 'opening hours on sunday'].map((text) => doubtful(text, 0.7));
  expect(pickBatch([...alike, ...others], [], 5).filter((index) => index >= 30)).toHaveLength(3);
});

test('it is as greedy as trying every candidate each time', () => {
  const letters = fc.string({ unit: fc.constantFrom(...'abcd '), maxLength: 12 });
  // Where doubts are so small that their products round to one number, greed is no longer told from chance.
  const doubt = fc.oneof(fc.constant(0), fc.double({ min: 1e-100, max: 1, noNaN: true }));
  const candidate = fc.record({ text: letters, doubt });
  fc.assert(
    fc.property(fc.array(candidate, { maxLength: 25 }), fc.array(letters, { maxLength: 5 }), (candidates, answered) => {
      const fast = pickBatch(candidates, answered, 8);
      const slow: number[] = [];
      for (let i = 0; i < 8; i += 1) {
        const left = candidates.map((one, index) => ({ ...one, index })).filter(({ index }) => !slow.includes(index));
        const known = [...answered, ...slow.map((index) => candidates[index]!.text)];
        const [best] = pickBatch(left, known, 1);
        if (best !== undefined) slow.push(left[best]!.index);
      }
      expect(fast).toEqual(slow);
      expect(new Set(fast).size).toBe(Math.min(8, candidates.length));
    }),
    { numRuns: 60 },
  );
});

test('doubt is small only where all heads are sure', () => {
  const choice = (name: string): Head => ({ kind: 'choice', name, values: ['"a"', '"b"', '"c"'] });
  const tags: Head = { kind: 'tags', name: 'tags', labels: ['x', 'y'], minItems: 0, maxItems: 2 };
  const [sure, unsure] = [Float32Array.of(12, 0, 0), Float32Array.of(1, 1, 0)];
  const doubt = (heads: Head[], logits: Prediction['logits']) => doubtOf({ logits }, heads, 'some text');
  expect(doubt([choice('label')], { label: sure })).toBeLessThan(0.001);
  expect(doubt([choice('label')], { label: unsure })).toBeCloseTo(1, 5);
  expect(doubt([choice('label'), choice('other')], { label: sure, other: unsure })).toBeCloseTo(1, 5);
  expect(doubt([choice('label'), tags], { label: sure, tags: Float32Array.of(9, -9) })).toBeLessThan(0.01);
  expect(doubt([choice('label'), tags], { label: sure, tags: Float32Array.of(0, -9) })).toBeCloseTo(0.5, 2);
});
