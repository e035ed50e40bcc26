import { expect, it } from 'vitest';
import { learningRateAt, type Schedule } from './schedule.ts';

const schedule = { shape: 'linear', peak: 1, warmupSteps: 4, totalSteps: 12 } as const;
const at = (steps: readonly number[], change: Partial<Schedule>): number[] =>
  steps.map((step) => learningRateAt(step, { ...schedule, ...change }));

it('warms up and falls linearly', () => {
  expect(at([1, 2, 4, 5, 8, 12, 13, 99], {})).toEqual([0.25, 0.5, 1, 1, 0.625, 0.125, 0, 0]);
});

it('falls along half a cosine', () => {
  const half = Math.SQRT1_2 / 2;
  for (const [i, expected] of [1, 0.5 + half, 0.5, 0.5 - half, 0].entries()) {
    expect(learningRateAt(5 + 2 * i, { ...schedule, shape: 'cosine' })).toBeCloseTo(expected, 12);
  }
});

it('stays where it is', () => {
  expect(at([2, 4, 5, 40], { shape: 'constant' })).toEqual([0.5, 1, 1, 1]);
});

it('starts at the peak without a warm-up', () => {
  expect(at([1, 12], { warmupSteps: 0 })).toEqual([1, 1 / 12]);
});
