import { describe, expect, test } from 'vitest';
import { lowerBound } from './clopper-pearson.ts';
import { furtherPairs } from './estimate.ts';
import { levelOfLook } from './level.ts';
import { randomSource } from './random-source.ts';
import { rankByConfidence } from './ranking.ts';
import { chooseThreshold, MARGIN_STANDARD_ERRORS } from './threshold.ts';

const level = levelOfLook(0.05, 1);
const goal = { agreement: 0.92, coverage: 0.8 };

/** Pairs of a student that agrees with the chance `agreementAt` at its rank (1 = the most confident). */
function draw(random: () => number, pairs: number, agreementAt: (rank: number) => number) {
  const confidences = Array.from({ length: pairs }, () => random());
  return { confidences, agrees: confidences.map((confidence) => random() < agreementAt(confidence)) };
}

/** Runs the whole rule: threshold on dev, gate on test. */
function trial(random: () => number, agreementAt: (rank: number) => number) {
  const dev = draw(random, 500, agreementAt);
  const { threshold } = chooseThreshold({
    dev: rankByConfidence(dev.confidences, dev.agrees),
    goal,
    testPairs: 1_000,
    level,
  });
  const test = draw(random, 1_000, agreementAt);
  const covered = test.agrees.filter((_, pair) => test.confidences[pair]! >= threshold);
  const agreeing = covered.filter(Boolean).length;
  return {
    coverage: covered.length / 1_000,
    passed:
      lowerBound(agreeing, covered.length, level) >= goal.agreement &&
      lowerBound(covered.length, 1_000, level) >= goal.coverage,
  };
}

describe('threshold', () => {
  test('covers everything when every answer agrees', () => {
    const dev = rankByConfidence([0.9, 0.8, 0.7], [true, true, true]);
    expect(chooseThreshold({ dev, goal: { agreement: 0.1, coverage: 0.1 }, testPairs: 1_000, level })).toMatchObject({
      threshold: 0,
      devCovered: 3,
    });
  });

  test('lies between pairs, and pairs of equal confidence stay together', () => {
    const agrees = Array.from({ length: 600 }, (_, pair) => pair < 500);
    const confidences = agrees.map((agreed) => (agreed ? 0.9 : 0.5));
    const choice = chooseThreshold({
      dev: rankByConfidence(confidences, agrees),
      goal: { ...goal, coverage: 0.7 },
      testPairs: 1_000,
      level,
    });
    expect(choice).toMatchObject({ threshold: 0.7, devCovered: 500, devAgreeing: 500 });
    expect(choice.agreementMargin).toBeGreaterThan(MARGIN_STANDARD_ERRORS);
  });

  test('without pairs there is none', () => {
    expect(() => chooseThreshold({ dev: rankByConfidence([], []), goal, testPairs: 10, level })).toThrow(RangeError);
  });

  // 0.96 at coverage 0.9, 0.92 over all: what a byte n-gram student does on real mail.
  test('a student with room between its curve and the goal nearly always passes, at a coverage near the highest', () => {
    const seed = 11;
    const random = randomSource(seed);
    const trials = Array.from({ length: 300 }, () => trial(random, (confidence) => (confidence > 0.15 ? 0.962 : 0.7)));
    const passed = trials.filter((one) => one.passed);
    expect(passed.length / trials.length, `seed ${seed}`).toBeGreaterThan(0.9);
    expect(passed.reduce((sum, one) => sum + one.coverage, 0) / passed.length).toBeGreaterThan(0.85);
  });

  test('a student below the goal passes no more often than the level allows', () => {
    const seed = 12;
    const random = randomSource(seed);
    const trials = Array.from({ length: 600 }, () => trial(random, () => 0.92));
    const wrong = trials.filter((one) => one.passed).length / trials.length;
    expect(wrong, `seed ${seed}`).toBeLessThan(level + 3 * Math.sqrt((level * (1 - level)) / trials.length));
    expect(wrong, `seed ${seed}`).toBeGreaterThan(0);
  });
});

describe('further pairs', () => {
  const ranked = (pairs: number, agreementAt: (rank: number) => number) => {
    const drawn = draw(randomSource(5), pairs, agreementAt);
    return rankByConfidence(drawn.confidences, drawn.agrees);
  };

  test('a good student with a small test needs only a larger one', () => {
    const dev = ranked(1_000, () => 0.96);
    const pairs = furtherPairs({ dev, goal, pairs: 700, testPairs: 140, level })!;
    expect(pairs).toBeGreaterThan(200);
    expect(pairs).toBeLessThan(2_000);
  });

  test('the further a student is from the goal, the more it needs, until nothing helps', () => {
    const estimates = [0.94, 0.92, 0.9].map((agreement) =>
      furtherPairs({ dev: ranked(4_000, () => agreement), goal, pairs: 5_000, testPairs: 1_000, level }),
    );
    expect(estimates).toEqual(estimates.toSorted((a, b) => a! - b!));
    expect(new Set(estimates).size).toBe(3);
    expect(
      furtherPairs({ dev: ranked(4_000, () => 0.6), goal, pairs: 5_000, testPairs: 1_000, level }),
    ).toBeUndefined();
    expect(
      furtherPairs({
        dev: ranked(500, () => 1),
        goal: { agreement: 1, coverage: 0.8 },
        pairs: 5_000,
        testPairs: 1_000,
        level,
      }),
    ).toBeUndefined();
    expect(furtherPairs({ dev: ranked(500, () => 1), goal, pairs: 500, testPairs: 0, level })).toBeUndefined();
  });

  test('a goal without coverage asks for the best coverage', () => {
    const dev = ranked(1_000, (confidence) => (confidence > 0.5 ? 0.99 : 0.5));
    expect(
      furtherPairs({ dev, goal: { agreement: 0.95, coverage: 0 }, pairs: 500, testPairs: 100, level }),
    ).toBeDefined();
  });
});
