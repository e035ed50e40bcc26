import { lowerBound } from '@understudy/student/statistics/clopper-pearson';
import { levelOfLook } from '@understudy/student/statistics/level';
import { randomSource } from '@understudy/student/statistics/random-source';
import { rankByConfidence } from '@understudy/student/statistics/ranking';
import { chooseThreshold } from '@understudy/student/statistics/threshold';
import { outputPlan } from '@understudy/task';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ENOUGH_MARGIN } from './decide.ts';
import { type Bar, barOf, measureDev } from './measure.ts';

/** Two labels, and what is said of them as predictions and pairs. */
const plan = outputPlan({
  type: 'object',
  properties: { label: { enum: ['a', 'b'] } },
  required: ['label'],
  additionalProperties: false,
});
const measure = (logits: readonly (readonly number[])[], given: readonly number[], bar: Bar) =>
  measureDev(
    plan,
    logits.map((row) => ({ logits: { label: Float32Array.from(row) } })),
    given.map((label) => ({ text: '', answerJson: JSON.stringify({ label: 'ab'[label] }) })),
    bar,
  );

const goal = { agreement: 0.95, coverage: 0.8, confidence: 0.95 };
const level = levelOfLook(0.05, 1);

/** Logits of two labels at random confidences; the teacher's label is the likelier one with the chance given at it. */
function draw(random: () => number, pairs: number, agreementAt: (rank: number) => number) {
  const ranks = Array.from({ length: pairs }, random);
  const logits = ranks.map((rank) => [4 * rank, 0]);
  return { ranks, logits, given: ranks.map((rank) => (random() < agreementAt(rank) ? 0 : 1)) };
}

describe('the bar', () => {
  it('is what a test of that size asks for, with room for its chance', () => {
    const bar = barOf(goal, 500, 1_000);
    expect(bar.provable).toBe(true);
    expect(lowerBound(Math.floor(bar.coverage * 1_000), 1_000, level)).toBeGreaterThan(goal.coverage);
    expect(lowerBound(Math.round(bar.agreement * bar.testCovered), bar.testCovered, level)).toBeGreaterThanOrEqual(
      0.95,
    );
    expect(bar.coverage).toBeLessThan(0.9);
  });

  it('cannot be cleared on a dev or test that is too small, or at a goal of 1', () => {
    expect(barOf(goal, 50, 40).provable).toBe(false);
    expect(barOf(goal, 50, 0).provable).toBe(false);
    expect(barOf(goal, 49, 1_000).provable).toBe(false);
    expect(barOf({ ...goal, agreement: 1 }, 500, 1_000).provable).toBe(false);
    expect(barOf({ ...goal, coverage: 1 }, 500, 1_000).provable).toBe(false);
  });

  it('rises with the goal', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 98 }), fc.integer({ min: 20, max: 600 }), (percent, pairs) => {
        const at = (share: number) => barOf({ ...goal, coverage: share / 100 }, pairs, 2 * pairs).coverage;
        expect(at(percent + 1)).toBeGreaterThanOrEqual(at(percent));
      }),
    );
  });
});

describe('dev', () => {
  it('counts each pair at most once, whatever the logits', () => {
    const logits = fc.array(
      fc.tuple(fc.float({ min: -50, max: 50, noNaN: true }), fc.float({ min: -50, max: 50, noNaN: true })),
      {
        minLength: 1,
        maxLength: 60,
      },
    );
    fc.assert(
      fc.property(logits, fc.infiniteStream(fc.nat(1)), (rows, labels) => {
        const found = measure(
          rows,
          rows.map(() => labels.next().value),
          barOf(goal, rows.length, 200),
        );
        expect(found.pairs).toBe(rows.length);
        expect(found.covered).toBeLessThanOrEqual(found.pairs);
        expect(found.agreeing).toBeLessThanOrEqual(found.covered);
        expect(Number.isFinite(found.margin)).toBe(true);
      }),
    );
  });

  it('covers all where only all is enough', () => {
    const { logits, given } = draw(randomSource(1), 40, () => 0.9);
    expect(measure(logits, given, barOf({ ...goal, coverage: 1 }, 40, 80)).covered).toBe(40);
  });

  it('leaves the pairs to the teacher on which a student is unsure', () => {
    const { logits, given } = draw(randomSource(2), 1_000, (rank) => (rank > 0.12 ? 1 : 0.5));
    const found = measure(logits, given, barOf(goal, 1_000, 2_000));
    expect(found.agreeing / found.covered).toBeGreaterThan(0.99);
    expect(found.covered).toBeGreaterThan(800);
    expect(found.margin).toBeGreaterThan(ENOUGH_MARGIN);
  });

  it('flatters nobody: pairs that say nothing agree no more often than they should', () => {
    const seed = 3;
    const random = randomSource(seed);
    const bar = barOf(goal, 100, 400);
    let [agreeing, covered] = [0, 0];
    for (let trial = 0; trial < 200; trial += 1) {
      const { logits, given } = draw(random, 100, () => 0.9);
      const found = measure(logits, given, bar);
      agreeing += found.agreeing;
      covered += found.covered;
    }
    expect(Math.abs(agreeing / covered - 0.9), `seed ${seed}`).toBeLessThan(0.01);
  });
});

describe('the margin of a search', () => {
  /** Shares, over students of every quality, of those that the search is content with, and of these that pass. */
  it('lets through students of which most pass their test', () => {
    const seed = 4;
    const random = randomSource(seed);
    const bar = barOf(goal, 500, 1_000);
    const trials = 240;
    // A test of a student is as much chance as the student: with one each, the share of these few would spread by six points.
    const testsOfEach = 10;
    let [content, passed, missed] = [0, 0, 0];
    for (let trial = 0; trial < trials; trial += 1) {
      const quality = 0.95 + 0.04 * random();
      const curve = (rank: number) => (rank > 0.15 ? quality : 0.7);
      const dev = draw(random, 500, curve);
      const enough = measure(dev.logits, dev.given, bar).margin >= ENOUGH_MARGIN;
      if (!enough && quality > 0.985) missed += 1;
      if (!enough) continue;
      content += 1;
      const agrees = dev.given.map((label) => label === 0);
      const { threshold } = chooseThreshold({
        dev: rankByConfidence(dev.ranks, agrees),
        goal,
        testPairs: 1_000,
        level,
      });
      for (let test = 0; test < testsOfEach; test += 1) {
        const { ranks, given } = draw(random, 1_000, curve);
        const answered = given.filter((_, pair) => ranks[pair]! >= threshold);
        const agreed = answered.filter((label) => label === 0).length;
        const agreement = lowerBound(agreed, answered.length, level);
        const coverage = lowerBound(answered.length, 1_000, level);
        if (agreement >= goal.agreement && coverage >= goal.coverage) passed += 1;
      }
    }
    expect(content, `seed ${seed}`).toBeGreaterThan(trials / 4);
    // 85% of many.
    expect(passed / (content * testsOfEach), `seed ${seed}`).toBeGreaterThan(0.8);
    expect(missed, `seed ${seed}`).toBeLessThan(trials / 15);
  });
});
