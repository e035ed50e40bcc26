import { describe, expect, test } from 'vitest';
import { helpOf, isHopelessOnDev, learningCurveOf, verdictOfCurve, verdictWithoutLook } from './learning-curve.ts';
import type { DevReport } from './report.ts';

const snapshot = { digest: 'a', fingerprint: 'f', trainPairs: 3_500, devPairs: 500, testPairs: 1_000 };
const sizes = [437, 875, 1_750, 3_500];
const facts = { goal: { agreement: 0.95 }, budget: { calls: 30_000, usd: 0 }, usdPerPair: 0, level: 0.03 };

const curveOf = (shares: readonly number[], change: object = {}) =>
  learningCurveOf({
    ...facts,
    turn: {
      snapshot,
      curve: shares.map((share, i) => ({ trainPairs: sizes[i]!, covered: 425, agreeing: Math.round(425 * share) })),
    },
    ...change,
  })!;

const dev = { pairs: 500, covered: 425, agreeing: 212, agreementMargin: -20, coverageMargin: 2 } as DevReport;

describe('what more pairs would do', () => {
  test('labels by coin toss: the task cannot be distilled, and no pair more is asked for', () => {
    const curve = curveOf([0.49, 0.52, 0.5, 0.5]);
    const verdict = verdictWithoutLook(dev, curve, 0.95);
    expect(verdict).toMatchObject({ passed: false, morePairs: 0, notDistillable: true });
    expect(verdict.reason).toMatch(/cannot be distilled .* would agree in at most \d\d\.\d% \(19 of 20 forecasts\)/);
    expect(verdict.reason).toContain('49.88%');
    expect(isHopelessOnDev(dev)).toBe(true);
  });

  test('a student on its way: how many, in which interval, and for how much', () => {
    const curve = curveOf([0.86, 0.9, 0.925, 0.948], { usdPerPair: 0.001, budget: { calls: 50_000, usd: 100 } });
    const { help, morePairs } = helpOf(curve);
    expect(morePairs).toBe(curve.furtherPairs.value);
    expect(morePairs).toBeGreaterThan(500);
    expect(help).toContain(`about ${morePairs} further pairs (90% interval ${curve.furtherPairs.low} to`);
    expect(help).toContain(`for about ${(morePairs * 0.001).toFixed(2)} USD`);
  });

  test('a goal that only a larger budget reaches: says so, and spends no more', () => {
    const { help, morePairs } = helpOf(curveOf([0.8, 0.85, 0.89, 0.92], { budget: { calls: 5_500, usd: 0 } }));
    expect(morePairs).toBe(0);
    expect(help).toContain('the budget ends at 5500 pairs');
  });

  test('a curve that only a steeper one continues to the goal: the next batch, not the whole budget', () => {
    const { morePairs, notDistillable } = helpOf(
      curveOf([0.28, 0.38, 0.51, 0.62], { budget: { calls: 40_000, usd: 0 } }),
    );
    expect([morePairs, notDistillable]).toEqual([1, undefined]);
  });

  test('too few pairs to judge by are reason enough to give up where the curve leads nowhere, and none otherwise', () => {
    const verdict = verdictOfCurve(curveOf([0.49, 0.52, 0.5, 0.5]), 0.95);
    expect(verdict).toMatchObject({ passed: false, morePairs: 0, notDistillable: true });
    expect(verdictOfCurve(curveOf([0.8, 0.85, 0.89, 0.92]), 0.95)).toBeUndefined();
    expect(verdictOfCurve(null, 0.95)).toBeUndefined();
  });

  test('money ends it as calls do', () => {
    const curve = curveOf([0.8, 0.85, 0.89, 0.92], { usdPerPair: 0.01, budget: { calls: 50_000, usd: 60 } });
    expect(curve.payablePairs).toBe(6_000);
  });

  test('without a curve nothing is foretold', () => {
    expect(learningCurveOf({ ...facts, turn: { snapshot, curve: [] } })).toBeNull();
    expect(learningCurveOf({ ...facts, turn: { snapshot: { ...snapshot, testPairs: 0 }, curve: [] } })).toBeNull();
  });

  test('a student that may pass gets its look', () => {
    expect(isHopelessOnDev({ ...dev, agreementMargin: -1 })).toBe(false);
  });
});
