/**
 * What dev says about a candidate: how well it agrees where it would answer. Temperatures and threshold are taken from
 * four fifths of the pairs and held against the fifth that had no part in them, so that choosing them flatters nothing.
 */
import { decide, type Policy, type Prediction } from '@understudy/student';
import { fitTemperatures } from '@understudy/student/heads/calibrate';
import { successesNeeded } from '@understudy/student/statistics/clopper-pearson';
import { MAX_GROWTH } from '@understudy/student/statistics/estimate';
import { levelOfLook } from '@understudy/student/statistics/level';
import { jeffreysMean } from '@understudy/student/statistics/ranking';
import { MARGIN_STANDARD_ERRORS, MIN_DEV_PAIRS, margin, shareNeeded } from '@understudy/student/statistics/threshold';
import type { OutputPlan } from '@understudy/task';

/** Parts of dev; five leave each choice four fifths of the pairs. */
const FOLDS = 5;

export interface Goal {
  readonly agreement: number;
  readonly coverage: number;
  readonly confidence: number;
}

/** What the evaluator's test will ask for, as far as it is known before it. */
export interface Bar {
  /** Share of dev that a student has to cover, so that the test is likely to prove the goal's coverage. */
  readonly coverage: number;
  /** The same with MAX_GROWTH times the pairs: what the learning curve is drawn at, because that is where it leads. */
  readonly coverageAhead: number;
  /** Pairs of the test that it would then answer, and the share of them that has to agree. */
  readonly testCovered: number;
  readonly agreement: number;
  /** False where dev or test is too small for any student to pass. */
  readonly provable: boolean;
}

export interface DevMeasure {
  readonly pairs: number;
  readonly covered: number;
  readonly agreeing: number;
  /** Standard errors by which the agreement of the covered pairs is above the bar. */
  readonly margin: number;
  /** The same at the bar's coverageAhead. */
  readonly ahead: { readonly covered: number; readonly agreeing: number };
}

/**
 * The bar for a test of so many pairs, at the level of a task's first look: how often the task was looked at before
 * is the evaluator's to know, and later looks ask for little more.
 */
export function barOf(goal: Goal, devPairs: number, testPairs: number): Bar {
  const level = levelOfLook(1 - goal.confidence, 1);
  const coverage = coverageNeeded(goal, devPairs, testPairs, level);
  const testCovered = Math.floor(coverage * testPairs);
  return {
    coverage,
    coverageAhead: coverageNeeded(goal, MAX_GROWTH * devPairs, MAX_GROWTH * testPairs, level),
    testCovered,
    agreement: shareNeeded(testCovered, goal.agreement, level),
    provable:
      devPairs >= MIN_DEV_PAIRS &&
      successesNeeded(testPairs, goal.coverage, level) !== undefined &&
      successesNeeded(testCovered, goal.agreement, level) !== undefined,
  };
}

function coverageNeeded(goal: Goal, devPairs: number, testPairs: number, level: number): number {
  const needed = shareNeeded(testPairs, goal.coverage, level);
  const clears = (covered: number): boolean =>
    margin(jeffreysMean(covered, devPairs), needed, devPairs, testPairs) >= MARGIN_STANDARD_ERRORS;
  return lowest(devPairs, clears) / devPairs;
}

/** The lowest count of 1..most that passes, where all above it pass too; `most` where none does. */
function lowest(most: number, passes: (count: number) => boolean): number {
  let [low, high] = [1, most];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (passes(middle)) high = middle;
    else low = middle + 1;
  }
  return high;
}

/** A text of dev, and the teacher's answer to it. */
export interface DevPair {
  readonly text: string;
  readonly answerJson: string;
}

/**
 * Measures a student on dev against the bar.
 * @param predictions of each dev pair
 */
export function measureDev(
  plan: OutputPlan,
  predictions: readonly Prediction[],
  pairs: readonly DevPair[],
  bar: Bar,
): DevMeasure {
  // An answer that copies what is not in the text has no values to hold the student's against; it agrees with none.
  const encoded = pairs.map(({ answerJson, text }) => plan.encode(answerJson, text));
  const counts = [bar.coverage, bar.coverageAhead].map((coverage) => ({ coverage, covered: 0, agreeing: 0 }));
  for (let fold = 0; fold < FOLDS; fold += 1) {
    const inside = pairs.flatMap((_, pair) => (pair % FOLDS === fold ? [pair] : []));
    const outside = pairs.flatMap((_, pair) => (pair % FOLDS === fold ? [] : [pair]));
    const fitted = outside.flatMap((pair) => {
      const one = encoded[pair]!;
      return one.ok ? [{ prediction: predictions[pair]!, values: one.values }] : [];
    });
    const heads = fitTemperatures(plan.heads, fitted);
    const policy: Policy = { version: 2, studentDigest: '', heads, threshold: 0 };
    const answer = (pair: number) => decide(predictions[pair]!, policy, plan, pairs[pair]!.text);
    const confidences = outside.map((pair) => answer(pair).confidence);
    const thresholds = counts.map(({ coverage }) => quantile(confidences, coverage));
    for (const pair of inside) {
      const { answer: given, confidence } = answer(pair);
      if (given === undefined) continue;
      const agrees = plan.agreement(given, pairs[pair]!.answerJson).whole;
      for (const [at, count] of counts.entries()) {
        if (confidence < thresholds[at]!) continue;
        count.covered += 1;
        if (agrees) count.agreeing += 1;
      }
    }
  }
  const [{ covered, agreeing }, ahead] = counts as [(typeof counts)[0], (typeof counts)[0]];
  const share = jeffreysMean(agreeing, covered);
  return {
    pairs: pairs.length,
    covered,
    agreeing,
    margin: margin(share, bar.agreement, Math.max(1, covered), bar.testCovered),
    ahead: { covered: ahead.covered, agreeing: ahead.agreeing },
  };
}

/** The confidence that this share of the pairs reaches; 0 where all of them are to be covered. */
function quantile(confidences: readonly number[], share: number): number {
  const falling = confidences.toSorted((a, b) => b - a);
  const covered = Math.ceil(share * falling.length);
  return covered >= falling.length ? 0 : falling[covered - 1]!;
}
