/** What further pairs would do, from the trainer's learning curve: in figures and in words. No I/O. */
import { MAX_GROWTH } from '@understudy/student/statistics/estimate';
import { type Forecast, forecast } from '@understudy/student/statistics/learning-curve';
import { MARGIN_STANDARD_ERRORS } from '@understudy/student/statistics/threshold';
import type { DevReport, LearningCurveReport, VerdictReport } from './report.ts';
import type { Turn } from './turn.ts';

/** Rarer than this among the forecasts is not worth a teacher's bill. How often that is wrong stands in DESIGN.md. */
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
export function learningCurveOf({ turn, goal, budget, usdPerPair, level }: CurveFacts): Curve | null {
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

/** A curve that was just drawn. */
export type Curve = LearningCurveReport & Pick<Forecast, 'hope'>;

/** Whether the goal is out of reach of far more pairs than there are, or of the whole budget where that pays for more. */
export const isHopeless = ({ hope }: Curve): boolean => hope.reaches < SMALL_CHANCE;

type Help = Pick<VerdictReport, 'morePairs' | 'notDistillable'> & { help: string };

/** The end of a verdict that failed: what more pairs would do, and whether they are worth asking for. */
export function helpOf(curve: Curve): Help {
  const { furtherPairs, hope, payablePairs, usdPerPair } = curve;
  const seen = seenOn(curve);
  if (isHopeless(curve)) {
    const help =
      `this task cannot be distilled to this goal: ${seen}, and even if it learnt twice as fast from here on, a student of ` +
      `${hope.pairs} pairs would agree in at most ${(100 * hope.most).toFixed(1)}% (19 of 20 forecasts). Either the answers do not follow from ` +
      'the input (they are given by chance, or by knowledge that is not in it), or learning them takes far more: put what the teacher decides by ' +
      "into the input's fields, allow larger students (goal.sizeBytes, training.encoder), or lower goal.agreement or goal.coverage";
    return { morePairs: 0, notDistillable: true, help };
  }
  const wanted = furtherPairs.value ?? furtherPairs.low ?? 0;
  const price = usdPerPair > 0 ? `, for about ${(wanted * usdPerPair).toFixed(2)} USD` : '';
  const many = furtherPairs.value === null ? `more than ${MAX_GROWTH - 1} times as many` : `about ${wanted}`;
  const interval = `${furtherPairs.low ?? 'over'} to ${furtherPairs.high ?? 'never'}`;
  const needs = `${seen}: ${many} further pairs (90% interval ${interval})${price}`;
  if (hope.affordable < SMALL_CHANCE) {
    const help = `${needs}, but the budget ends at ${payablePairs} pairs: raise it, or lower the goal`;
    return { morePairs: 0, help };
  }
  // Where only a steeper curve than this one would do, the next batch shows whether it becomes one; the budget is not spent at once on that hope.
  return { morePairs: wanted <= payablePairs ? Math.max(1, wanted) : 1, help: `${needs} should do` };
}

/** The verdict where pairs are too few to judge a student by, but the curve says that more of them are not worth asking for. */
export function verdictOfCurve(curve: Curve | null, goalAgreement: number): VerdictReport | undefined {
  if (curve === null || !isHopeless(curve)) return undefined;
  const { help, ...verdict } = helpOf(curve);
  return {
    passed: false,
    reason: `no student is near the goal of ${(100 * goalAgreement).toFixed(2)}%; ${help}`,
    ...verdict,
  };
}

function seenOn({ points, exponent }: LearningCurveReport): string {
  const told = points.map(({ trainPairs, covered, agreeing }) => {
    const share = covered === 0 ? 'nothing' : `${((100 * agreeing) / covered).toFixed(1)}%`;
    return `${share} with ${trainPairs}`;
  });
  const [low, high] = [exponent.low.toFixed(2), exponent.high.toFixed(2)];
  return `agreement by pairs learnt from is ${told.join(', ')} (the odds of disagreement fall as pairs^-${exponent.value.toFixed(2)}, 90% interval ${low} to ${high})`;
}

/** The whole verdict of a student that is not worth a look. */
export function verdictWithoutLook(dev: DevReport, curve: Curve, goalAgreement: number): VerdictReport {
  const { help, ...verdict } = helpOf(curve);
  const seen = dev.covered === 0 ? 'none' : `${((100 * dev.agreeing) / dev.covered).toFixed(2)}%`;
  const reason = `on dev the student agrees in ${seen} of the ${dev.covered} of ${dev.pairs} pairs that it would answer, goal ${(100 * goalAgreement).toFixed(2)}%; the test is not looked at, because it would fail in 19 of 20 cases; ${help}`;
  return { passed: false, reason, ...verdict };
}
