import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { differenceLowerBound, normalQuantile } from './paired-difference.ts';
import { randomSource } from './random-source.ts';

const counts = fc
  .tuple(fc.nat(60), fc.nat(60), fc.integer({ min: 1, max: 500 }))
  .map(([onlyFirst, onlySecond, same]) => ({ pairs: onlyFirst + onlySecond + same, onlyFirst, onlySecond }));
const level = fc.double({ min: 0.001, max: 0.4, noNaN: true });

describe('paired difference', () => {
  test('lies below the difference seen, and higher at a higher level', () => {
    fc.assert(
      fc.property(counts, level, (given, at) => {
        const bound = differenceLowerBound(given, at);
        expect(bound).toBeGreaterThanOrEqual(-1);
        expect(bound).toBeLessThanOrEqual((given.onlyFirst - given.onlySecond) / given.pairs + 1e-9);
        expect(differenceLowerBound(given, at / 2)).toBeLessThanOrEqual(bound + 1e-9);
      }),
    );
  });

  test('rises with every pair that the first one wins, and falls with every one that it loses', () => {
    fc.assert(
      fc.property(counts, level, (given, at) => {
        const bound = differenceLowerBound(given, at);
        const won = differenceLowerBound({ ...given, onlyFirst: given.onlyFirst + 1 }, at);
        const lost = differenceLowerBound({ ...given, onlySecond: given.onlySecond + 1 }, at);
        expect(won).toBeGreaterThan(bound);
        expect(lost).toBeLessThan(bound);
      }),
    );
  });

  test('two students that never differ are still apart by what so few pairs cannot exclude', () => {
    // All alike: the score's bound is -z²/(n + z²).
    const z = normalQuantile(0.95);
    expect(differenceLowerBound({ pairs: 1_000, onlyFirst: 0, onlySecond: 0 }, 0.05)).toBeCloseTo(
      -(z ** 2) / (1_000 + z ** 2),
      9,
    );
    expect(differenceLowerBound({ pairs: 0, onlyFirst: 0, onlySecond: 0 }, 0.05)).toBe(-1);
    expect(differenceLowerBound({ pairs: 5, onlyFirst: 0, onlySecond: 5 }, 0.05)).toBe(-1);
  });

  test('a student that is worse by exactly the margin seems good enough about as often as the level says', () => {
    const [seed, trials, pairs] = [31, 3_000, 800];
    const random = randomSource(seed);
    for (const [first, second] of [
      [0.01, 0.015],
      [0.03, 0.035],
    ] as const) {
      let wrong = 0;
      for (let trial = 0; trial < trials; trial += 1) {
        let [onlyFirst, onlySecond] = [0, 0];
        for (let pair = 0; pair < pairs; pair += 1) {
          const draw = random();
          if (draw < first) onlyFirst += 1;
          else if (draw < first + second) onlySecond += 1;
        }
        if (differenceLowerBound({ pairs, onlyFirst, onlySecond }, 0.05) >= first - second) wrong += 1;
      }
      expect(wrong / trials, `seed ${seed}`).toBeLessThan(0.06 + 3 * Math.sqrt((0.05 * 0.95) / trials));
      expect(wrong, `seed ${seed}`).toBeGreaterThan(0);
    }
  });

  test('quantiles of the normal distribution', () => {
    for (const [share, quantile] of [
      [0.5, 0],
      [0.95, 1.644853626951472],
      [0.975, 1.959963984540054],
      [0.9999, 3.719016485455709],
    ] as const) {
      expect(normalQuantile(share)).toBeCloseTo(quantile, 10);
    }
  });

  test('refuses what makes no sense', () => {
    expect(() => differenceLowerBound({ pairs: 3, onlyFirst: 2, onlySecond: 2 }, 0.05)).toThrow(RangeError);
    expect(() => differenceLowerBound({ pairs: 3, onlyFirst: 0.5, onlySecond: 2 }, 0.05)).toThrow(RangeError);
    expect(() => differenceLowerBound({ pairs: 3, onlyFirst: 1, onlySecond: 1 }, 0.5)).toThrow(RangeError);
  });
});
