/** How many further pairs would let a student pass: a simple estimate with its assumptions in the open. */
import { successesNeeded } from './clopper-pearson.ts';
import { jeffreysMean, type Ranking } from './ranking.ts';
import { MARGIN_STANDARD_ERRORS } from './threshold.ts';

/**
 * Disagreement falls as pairs^-0.3. Hestness et al. 2017 ("Deep learning scaling is predictable, empirically") measured
 * exponents of 0.07 to 0.35 over their tasks; classification stood at the upper end.
 */
export const LEARNING_EXPONENT = 0.3;
/** Beyond this many times the pairs a forecast from one point is a guess, and says nothing. */
export const MAX_GROWTH = 16;
/** Step of the search: 5% of the pairs is finer than the estimate is good. */
const GROWTH_STEP = 1.05;
/** Above the least coverage a student agrees less, but is tested on more; this finely is enough to find the best. */
const COVERAGE_STEP = 0.05;

/** The estimate in words, as it stands in reports. */
export const ASSUMPTIONS =
  `an estimate: it takes the student's disagreement on dev, has it fall as pairs^-${LEARNING_EXPONENT}, keeps the shares of the ` +
  `splits, and asks for a test that passes in 19 of 20 cases; it looks no further than ${MAX_GROWTH} times the pairs`;

export interface EstimateQuestion {
  dev: Ranking;
  goal: { agreement: number; coverage: number };
  /** Pairs of all splits together, and those of test. */
  pairs: number;
  testPairs: number;
  /** Level of the next look. */
  level: number;
}

/** Further pairs that should do, or undefined when no number within MAX_GROWTH times those there are would. */
export function furtherPairs(question: EstimateQuestion): number | undefined {
  const { pairs, testPairs } = question;
  if (testPairs === 0 || question.dev.pairs === 0) return undefined;
  for (let growth = GROWTH_STEP; growth <= MAX_GROWTH; growth *= GROWTH_STEP) {
    if (wouldPass(question, growth)) return Math.ceil(pairs * (growth - 1));
  }
  return undefined;
}

/** Whether this student, trained and tested on `growth` times the pairs, should pass at some coverage that proves the goal's. */
function wouldPass({ dev, goal, testPairs, level }: EstimateQuestion, growth: number): boolean {
  const tested = Math.floor(testPairs * growth);
  const least = shareSafelyNeeded(tested, goal.coverage, level);
  if (least === undefined) return false;
  for (let coverage = least; coverage <= 1; coverage += COVERAGE_STEP) {
    const devCovered = Math.max(1, Math.ceil(coverage * dev.pairs));
    const disagreement = 1 - jeffreysMean(dev.agreeing(devCovered), devCovered);
    const agreement = 1 - disagreement * growth ** -LEARNING_EXPONENT;
    const needed = shareSafelyNeeded(Math.floor(coverage * tested), goal.agreement, level);
    if (needed !== undefined && agreement >= needed) return true;
  }
  return false;
}

/** The true share at which a test of so many pairs proves the goal in 19 of 20 cases; undefined when none does. */
export function shareSafelyNeeded(pairs: number, goal: number, level: number): number | undefined {
  const successes = pairs === 0 ? undefined : successesNeeded(pairs, goal, level);
  if (successes === undefined) return undefined;
  const share = successes / pairs;
  const safe = share + MARGIN_STANDARD_ERRORS * Math.sqrt((share * (1 - share)) / pairs);
  return safe <= 1 ? safe : undefined;
}
