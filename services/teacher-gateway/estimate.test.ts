import { expect, test } from 'vitest';
import { estimateCost, type Unasked } from './estimate.ts';

const unasked = (bound: number): Unasked => ({
  bound,
  assumed: { expected: bound / 4, low: bound / 6, high: bound / 2 },
});

test('without real calls it says what is usual, for those that are not known yet', () => {
  const sample = { unasked: [unasked(120), unasked(120)], known: 2 };
  expect(estimateCost(1_000, sample, [])).toEqual({ expected: 500 * 30, low: 500 * 20, high: 500 * 60 });
});

test('nothing is left to pay when all of the sample is known', () => {
  expect(estimateCost(1_000, { unasked: [], known: 5 }, [])).toEqual({ expected: 0, low: 0, high: 0 });
});

test('a teacher that costs nothing is estimated at nothing', () => {
  const measured = [1, 2, 3].map(() => ({ bound: 0, spent: 0 }));
  expect(estimateCost(1_000, { unasked: [unasked(0)], known: 0 }, measured)).toEqual({ expected: 0, low: 0, high: 0 });
});

/** Uniform draws from [0, 1), the same for the same seed (a linear congruential generator, Knuth's MMIX). */
const drawsOf = (seed: bigint) => {
  let state = seed;
  return () => {
    state = BigInt.asUintN(64, state * 6_364_136_223_846_793_005n + 1_442_695_040_888_963_407n);
    return Number(state >> 11n) / 2 ** 53;
  };
};

test('with real calls the interval holds the true cost about as often as it says', () => {
  const draw = drawsOf(7n);
  const runs = 2_000;
  let held = 0;
  let narrow = 0;
  for (let run = 0; run < runs; run += 1) {
    // Bounds of 100 to 300; calls cost an eighth of theirs, half more or less.
    const bounds = Array.from({ length: 100 }, () => 100 + 200 * draw());
    const measured = bounds.slice(0, 20).map((bound) => ({ bound, spent: (bound / 8) * (0.5 + draw()) }));
    const { low, high, expected } = estimateCost(10_000, { unasked: bounds.map(unasked), known: 0 }, measured);
    if (low <= 250_000 && 250_000 <= high) held += 1;
    if (high - low < expected / 2) narrow += 1;
  }
  expect(held / runs).toBeGreaterThan(0.92);
  expect(held / runs).toBeLessThan(0.99);
  expect(narrow / runs).toBeGreaterThan(0.9);
});
