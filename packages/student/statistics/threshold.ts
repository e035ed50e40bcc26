/** The confidence threshold, chosen on dev so that the test is likely to prove the goal. */
import { successesNeeded } from './clopper-pearson.ts';
import { jeffreysMean, type Ranking } from './ranking.ts';

/**
 * Standard errors by which dev must exceed what the test will ask for. 1.645: nineteen of twenty students that dev shows
 * here pass. It also pays for having picked the threshold on the same pairs.
 */
export const MARGIN_STANDARD_ERRORS = 1.645;
/**
 * Where no threshold is clear, margins closer than this are told apart by noise alone, and the higher coverage gives the test more
 * pairs to prove with. Simulated, 2,000 students each: of a flat 0.97 at a goal of 0.95, 86.2% pass instead of 84.1%; of 0.975 on the
 * most confident 85% and 0.7 below, 85.0% instead of 82.1%. At 0.3, steep curves lose more than flat ones gain.
 */
const EQUAL_MARGINS = 0.1;
/** Fewer dev pairs fix a threshold to no better than ten points either way: nothing is decided by them. */
export const MIN_DEV_PAIRS = 50;
/** Thresholds tried. More would only follow the noise of single pairs. */
const MAX_CANDIDATES = 500;

export interface ThresholdQuestion {
  /** The dev pairs. */
  dev: Ranking;
  goal: { agreement: number; coverage: number };
  /** Pairs that the test will have. */
  testPairs: number;
  /** Level of the test's bounds. */
  level: number;
}

export interface ThresholdChoice {
  /** The student answers at or above this confidence; 0 when it may answer everything. */
  threshold: number;
  devCovered: number;
  devAgreeing: number;
  /** Both in standard errors above what the test will ask for; below the margin, failure is likely. */
  agreementMargin: number;
  coverageMargin: number;
}

/**
 * The threshold of the highest coverage at which agreement and coverage both clear, by the margin, what the
 * Clopper–Pearson gate asks of a test of this size; where none does, the highest whose worse margin is as good as the best.
 * Spread: sqrt(p(1-p)(1/dev + 1/test)), because dev's share is uncertain and so is the test's.
 * @throws RangeError without dev pairs
 */
export function chooseThreshold(question: ThresholdQuestion): ThresholdChoice {
  const coverageNeeded = shareNeeded(question.testPairs, question.goal.coverage, question.level);
  const choices = candidates(question.dev).map((covered) => consider(question, coverageNeeded, covered));
  const clear = choices.findLast((choice) => worse(choice) >= MARGIN_STANDARD_ERRORS);
  if (clear !== undefined) return clear;
  const most = choices.reduce((found, choice) => Math.max(found, worse(choice)), Number.NEGATIVE_INFINITY);
  const best = choices.findLast((choice) => worse(choice) >= most - EQUAL_MARGINS);
  if (best === undefined) throw new RangeError('expected dev pairs to choose a threshold on, got none');
  return best;
}

const worse = (choice: ThresholdChoice): number => Math.min(choice.agreementMargin, choice.coverageMargin);

/** Numbers of covered dev pairs, rising; pairs of equal confidence are covered together. */
function candidates({ pairs, confidence }: Ranking): number[] {
  const found: number[] = [];
  const step = Math.max(1, pairs / MAX_CANDIDATES);
  for (let covered = 1; covered <= pairs; covered += 1) {
    const ends = covered === pairs || confidence(covered) < confidence(covered - 1);
    if (ends && (covered === pairs || covered >= (found.length + 1) * step)) found.push(covered);
  }
  return found;
}

function consider(
  { dev, goal, testPairs, level }: ThresholdQuestion,
  coverageNeeded: number,
  covered: number,
): ThresholdChoice {
  const devAgreeing = dev.agreeing(covered);
  const coverage = jeffreysMean(covered, dev.pairs);
  const testCovered = Math.floor(coverage * testPairs);
  const agreementNeeded = shareNeeded(testCovered, goal.agreement, level);
  return {
    threshold: covered === dev.pairs ? 0 : (dev.confidence(covered - 1) + dev.confidence(covered)) / 2,
    devCovered: covered,
    devAgreeing,
    agreementMargin: margin(jeffreysMean(devAgreeing, covered), agreementNeeded, covered, testCovered),
    coverageMargin: margin(coverage, coverageNeeded, dev.pairs, testPairs),
  };
}

/** The share that proves the goal on so many pairs; all of them where not even that would. */
export function shareNeeded(pairs: number, goal: number, level: number): number {
  return pairs === 0 ? 1 : (successesNeeded(pairs, goal, level) ?? pairs) / pairs;
}

/** How far a share seen on `devTrials` is above what `testTrials` need, in standard errors of both together. */
export function margin(share: number, needed: number, devTrials: number, testTrials: number): number {
  const spread = Math.sqrt(share * (1 - share) * (1 / devTrials + 1 / Math.max(1, testTrials)));
  return (share - needed) / spread;
}
