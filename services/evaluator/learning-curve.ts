/** What further pairs would do, from the trainer's learning curve: in figures and in words. No I/O. */
import { MAX_GROWTH } from '@understudy/student/statistics/estimate';
import { forecast } from '@understudy/student/statistics/learning-curve';
import { MARGIN_STANDARD_ERRORS } from '@understudy/student/statistics/threshold';
import type { DevReport, LearningCurveReport, VerdictReport } from './report.ts';
import type { Turn } from './turn.ts';

/** Rarer than this among the forecasts is not worth a teacher's bill. */
const SMALL_CHANCE = 0.05;

export interface CurveFacts {
  readonly turn: Pick<Turn, 'curve' | 'snapshot'>;
  readonly goal: { readonly agreement: number };
  readonly budget: { readonly calls: number; readonly usd: number };
  /** Mean price of an answer, over the dev pairs. */
  readonly usdPerPair: number;
  /** Level of the next look. */
  readonly level: number;
}

/** Null where the trainer told no curve, or too little of one. */
export function learningCurveOf({ turn, goal, budget, usdPerPair, level }: CurveFacts): LearningCurveReport | null {
  const { curve: points, snapshot } = turn;
  const { devPairs, testPairs } = snapshot;
  const pairs = snapshot.trainPairs + devPairs + testPairs;
  const payable = Math.min(budget.calls, usdPerPair > 0 ? budget.usd / usdPerPair : Number.POSITIVE_INFINITY);
  const coverage = (points.at(-1)?.covered ?? 0) / Math.max(1, devPairs);
  const affordableGrowth = Math.max(1, payable / pairs);
  const asked = { points, goalAgreement: goal.agreement, coverage, pairs, testPairs, level, affordableGrowth };
  const found = forecast(asked);
  if (found === undefined) return null;
  return { points: [...points], coverage, payablePairs: Math.floor(pairs * affordableGrowth), usdPerPair, ...found };
}

/** Whether dev says that a look would fail in 19 of 20 cases: then it is not taken. */
export const isHopelessOnDev = ({ agreementMargin, coverageMargin }: DevReport): boolean =>
  Math.min(agreementMargin, coverageMargin) < -MARGIN_STANDARD_ERRORS;

/** The end of a verdict that failed: what more pairs would do, and whether they are worth asking for. */
export function helpOf(curve: LearningCurveReport): Pick<VerdictReport, 'morePairs'> & { help: string } {
  const { furtherPairs, reaches, affordable, payablePairs, usdPerPair } = curve;
  const seen = seenOn(curve);
  if (reaches < SMALL_CHANCE) {
    const help = `${seen}: not even ${MAX_GROWTH} times as many pairs are expected to reach the goal; this task cannot be distilled to this goal with this student: lower goal.agreement or goal.coverage, or allow larger students`;
    return { morePairs: 0, help };
  }
  const wanted = furtherPairs.value ?? furtherPairs.low ?? 0;
  const price = usdPerPair > 0 ? `, for about ${(wanted * usdPerPair).toFixed(2)} USD` : '';
  const interval = `${furtherPairs.low ?? 'over'} to ${furtherPairs.high ?? 'never'}`;
  const needs = `${seen}: about ${wanted} further pairs (90% interval ${interval})${price}`;
  if (affordable < SMALL_CHANCE) {
    return {
      morePairs: 0,
      help: `${needs}, but the budget ends at ${payablePairs} pairs: raise it, or lower the goal`,
    };
  }
  return { morePairs: Math.max(1, wanted), help: `${needs} should do` };
}

function seenOn({ points, exponent }: LearningCurveReport): string {
  const told = points.map(({ trainPairs, covered, agreeing }) => {
    const share = covered === 0 ? 'nothing' : `${((100 * agreeing) / covered).toFixed(1)}%`;
    return `${share} with ${trainPairs}`;
  });
  const [low, high] = [exponent.low.toFixed(2), exponent.high.toFixed(2)];
  return `agreement on dev by pairs learnt from is ${told.join(', ')} (disagreement falls as pairs^-${exponent.value.toFixed(2)}, 90% interval ${low} to ${high})`;
}

/** The whole verdict of a student that is not worth a look. */
export function verdictWithoutLook(dev: DevReport, curve: LearningCurveReport, goalAgreement: number): VerdictReport {
  const { help, morePairs } = helpOf(curve);
  const seen = dev.covered === 0 ? 'none' : `${((100 * dev.agreeing) / dev.covered).toFixed(2)}%`;
  const reason = `on dev the student agrees in ${seen} of the ${dev.covered} of ${dev.pairs} pairs that it would answer, goal ${(100 * goalAgreement).toFixed(2)}%; the test is not looked at, because it would fail in 19 of 20 cases; ${help}`;
  return { passed: false, reason, morePairs };
}
