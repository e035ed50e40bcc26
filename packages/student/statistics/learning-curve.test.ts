import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_GROWTH } from './estimate.ts';
import { type CurvePoint, forecast } from './learning-curve.ts';
import { levelOfLook } from './level.ts';
import { randomSource } from './random-source.ts';

const sizes = [440, 875, 1_750, 3_500];
const about = {
  goalAgreement: 0.95,
  coverage: 0.85,
  pairs: 5_000,
  testPairs: 1_000,
  level: levelOfLook(0.05, 2),
  affordableGrowth: 4,
};

/** Students of which each covers 425 dev pairs and disagrees on a share a·n^-b of them. */
const drawn = (random: () => number, disagreement: (pairs: number) => number): CurvePoint[] =>
  sizes.map((trainPairs) => {
    const agreeing = Array.from({ length: 425 }, random).filter((draw) => draw >= disagreement(trainPairs)).length;
    return { trainPairs, covered: 425, agreeing };
  });
const steep = (pairs: number): number => 0.055 * (pairs / 3_500) ** -0.5;

describe('learning curve', () => {
  test('a student on its way needs some more pairs', () => {
    const found = forecast({ ...about, points: drawn(randomSource(1), steep) })!;
    expect(found.exponent.low).toBeGreaterThan(0.2);
    // Of odds, which fall a little faster than the disagreement itself.
    expect(found.exponent.high).toBeLessThan(0.9);
    expect(found.furtherPairs.value).toBeGreaterThan(500);
    expect(found.furtherPairs.value).toBeLessThan(40_000);
    expect(found.reaches).toBeGreaterThan(0.8);
    expect(found.hope.affordable).toBeGreaterThan(0.8);
    const [first, last] = [found.ahead[0]!, found.ahead.at(-1)!];
    expect([first.trainPairs, last.trainPairs]).toEqual([440, 3_500 * MAX_GROWTH]);
    expect(last.value).toBeGreaterThan(0.95);
    expect(found.ahead.every(({ low, value, high }) => low <= value && value <= high)).toBe(true);
  });

  test('labels by coin toss are never learnt', () => {
    const found = forecast({ ...about, points: drawn(randomSource(2), () => 0.5) })!;
    expect(found.reaches).toBe(0);
    expect(found.hope).toMatchObject({ affordable: 0, pairs: 20_000, reaches: 0 });
    expect(found.hope.most).toBeLessThan(0.85);
    expect(found.furtherPairs).toEqual({ value: null, low: null, high: null });
  });

  test('a curve that has only begun to rise is no reason to give up', () => {
    const shares = [0.28, 0.38, 0.51, 0.62];
    const points = sizes.map((trainPairs, i) => ({ trainPairs, covered: 425, agreeing: Math.round(425 * shares[i]!) }));
    expect(forecast({ ...about, points, affordableGrowth: 7 })!.hope.reaches).toBeGreaterThan(0.5);
  });

  test('a budget too small to prove a goal is told apart from a task that does not reach it', () => {
    const good = sizes.map((trainPairs) => ({ trainPairs, covered: 425, agreeing: 423 }));
    const { hope } = forecast({ ...about, goalAgreement: 0.995, points: good, testPairs: 60, affordableGrowth: 5 })!;
    expect(hope.affordable).toBe(0);
    expect(hope.reaches).toBeGreaterThan(0.2);
  });

  test('the interval of the exponent holds the true one in about nine of ten curves', () => {
    const [seed, curves] = [3, 200];
    const random = randomSource(seed);
    let held = 0;
    for (let i = 0; i < curves; i += 1) {
      const { low, high } = forecast({ ...about, points: drawn(random, (n) => 0.2 * (n / 440) ** -0.3) })!.exponent;
      if (low <= 0.3 && 0.3 <= high) held += 1;
    }
    expect(held / curves, `seed ${seed}`).toBeGreaterThan(0.82);
    expect(held / curves, `seed ${seed}`).toBeLessThan(0.98);
  });

  test('gives ordered figures within their ranges for any points, and the same ones again', () => {
    const point = fc.integer({ min: 0, max: 500 }).chain((covered) =>
      fc.record({
        trainPairs: fc.integer({ min: 1, max: 1_000_000 }),
        covered: fc.constant(covered),
        agreeing: fc.nat(covered),
      }),
    );
    fc.assert(
      fc.property(
        fc.array(point, { maxLength: 6 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (points, goalAgreement) => {
          const asked = { ...about, points, goalAgreement };
          const found = forecast(asked);
          expect(forecast(asked)).toEqual(found);
          if (found === undefined) return;
          const { exponent, furtherPairs, reaches, hope } = found;
          expect(0 <= exponent.low && exponent.low <= exponent.high && exponent.high <= 1).toBe(true);
          for (const share of [reaches, hope.affordable, hope.reaches, hope.most])
            expect(0 <= share && share <= 1).toBe(true);
          expect(hope.pairs).toBe(4 * about.pairs);
          const limit = about.pairs * MAX_GROWTH;
          for (const pairs of Object.values(furtherPairs))
            expect(pairs === null || (pairs >= 0 && pairs <= limit)).toBe(true);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('two points are no curve', () => {
    expect(forecast({ ...about, points: drawn(randomSource(4), steep).slice(2) })).toBeUndefined();
    expect(forecast({ ...about, points: drawn(randomSource(4), steep), testPairs: 0 })).toBeUndefined();
  });
});
