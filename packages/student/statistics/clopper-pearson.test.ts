import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { lowerBound, successesNeeded, upperBound } from './clopper-pearson.ts';
import { levelOfLook } from './level.ts';
import { randomSource } from './random-source.ts';

const level = fc.constantFrom(0.5, 0.1, 0.05, levelOfLook(0.05, 1), 0.01, levelOfLook(0.05, 7), 1e-6);
const counts = fc
  .integer({ min: 1, max: 3_000 })
  .chain((trials) => fc.tuple(fc.integer({ min: 0, max: trials }), fc.constant(trials)));

describe('Clopper–Pearson bounds', () => {
  // scipy 1.17: beta.ppf(a, k, n-k+1) and beta.ppf(1-a, k+1, n-k).
  test.each([
    [1, 1, 0.05, 0.05, 1],
    [0, 10, 0.05, 0, 0.2588655508930522],
    [9, 10, 0.05, 0.6058366975634952, 0.9948838031081763],
    [20, 20, 0.0303963550927013, 0.8397327195407182, 1],
    [95, 100, 0.05, 0.8977466223567255, 0.9800944363378281],
    [1, 100, 0.05, 0.0005128014162622921, 0.046559811453538935],
    [764, 812, 0.0303963550927013, 0.9232107158840678, 0.9555124164281511],
    [970, 1_000, 0.0303963550927013, 0.9580155791922937, 0.9793127444560291],
    [970, 1_000, 0.0075990887731753, 0.9542432767023844, 0.9815589424098834],
    [500, 1_000, 0.5, 0.49950016669993813, 0.5004998333000619],
    [4_750, 5_000, 0.001, 0.9397586805307337, 0.9590186720683451],
    [92_500, 100_000, 0.05, 0.9236158441248141, 0.9263659074827455],
    [386_443, 1_000_000, 0.5, 0.3864425378525086, 0.38644353785217517],
  ])('%i of %i at level %f are those of scipy to 1e-10', (successes, trials, at, lower, upper) => {
    expect(Math.abs(lowerBound(successes, trials, at) - lower)).toBeLessThan(1e-10);
    expect(Math.abs(upperBound(successes, trials, at) - upper)).toBeLessThan(1e-10);
  });

  test('enclose the observed share; fewer successes or a stricter level never raise the lower one', () => {
    fc.assert(
      fc.property(counts, level, ([successes, trials], at) => {
        const lower = lowerBound(successes, trials, at);
        expect(lower).toBeGreaterThanOrEqual(0);
        expect(lower).toBeLessThanOrEqual(successes / trials);
        expect(upperBound(successes, trials, at)).toBeGreaterThanOrEqual(successes / trials);
        if (successes > 0) expect(lowerBound(successes - 1, trials, at)).toBeLessThan(lower);
        expect(lowerBound(successes, trials, at / 2)).toBeLessThanOrEqual(lower);
        expect(lowerBound(successes, trials + 1, at)).toBeLessThanOrEqual(lower);
      }),
    );
  });

  test('the fewest successes needed are exactly those whose bound reaches the goal', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3_000 }),
        fc.double({ min: 0.01, max: 0.999, noNaN: true }),
        level,
        (trials, goal, at) => {
          const needed = successesNeeded(trials, goal, at);
          const slack = 1e-12; // two ways to the same number
          if (needed === undefined) {
            expect(lowerBound(trials, trials, at)).toBeLessThan(goal + slack);
            return;
          }
          expect(lowerBound(needed, trials, at)).toBeGreaterThanOrEqual(goal - slack);
          if (needed > 0) expect(lowerBound(needed - 1, trials, at)).toBeLessThan(goal + slack);
        },
      ),
    );
  });

  test('nothing proves a goal of 1, and anything one of 0', () => {
    expect(successesNeeded(1_000_000, 1, 0.05)).toBeUndefined();
    expect(successesNeeded(10, 0, 0.05)).toBe(0);
    expect(successesNeeded(0, 0.5, 0.05)).toBeUndefined();
    expect(lowerBound(0, 0, 0.05)).toBe(0);
    expect(upperBound(0, 0, 0.05)).toBe(1);
  });

  test.each([
    [0.9, 50],
    [0.95, 1_000],
    [0.97, 300],
  ])('above the truth in at most the level of samples: p = %f, n = %i', (truth, trials) => {
    const samples = 10_000;
    const at = 0.05;
    const seed = 20_260_101;
    const random = randomSource(seed);
    const above = Array.from({ length: trials + 1 }, (_, k) => lowerBound(k, trials, at) > truth);
    let wrong = 0;
    for (let sample = 0; sample < samples; sample += 1) {
      let successes = 0;
      for (let trial = 0; trial < trials; trial += 1) if (random() < truth) successes += 1;
      if (above[successes]) wrong += 1;
    }
    const threeStandardErrors = 3 * Math.sqrt((at * (1 - at)) / samples);
    expect(wrong / samples, `seed ${seed}`).toBeLessThan(at + threeStandardErrors);
    expect(wrong / samples, `seed ${seed}`).toBeGreaterThan(0.01);
  });

  test.each([
    [-1, 10, 0.05],
    [11, 10, 0.05],
    [1.5, 10, 0.05],
    [1, 10, 0],
    [1, 10, 1],
    [1, 10, Number.NaN],
  ])('%f of %f at level %f is refused', (successes, trials, at) => {
    expect(() => lowerBound(successes, trials, at)).toThrow(RangeError);
  });
});

describe('levels of looks', () => {
  test('sum to alpha over all looks', () => {
    let sum = 0;
    for (let look = 1; look <= 1_000_000; look += 1) sum += levelOfLook(0.05, look);
    expect(sum).toBeLessThan(0.05);
    expect(sum).toBeGreaterThan(0.05 - 1e-7);
    expect(levelOfLook(0.05, 1)).toBeCloseTo(0.030396355092701333, 15);
    expect(() => levelOfLook(0.05, 0)).toThrow(RangeError);
  });
});
