/**
 * How many further pairs a goal needs, from students trained on nested subsets. Disagreement at a fixed coverage is fitted as a·n^-b (Hestness
 * et al. 2017, arXiv 1712.00409; Cortes et al. 1993, "Learning curves: asymptotic values and rate of convergence"), and drawn again from
 * its binomial errors many times, so that what is told is an interval and a chance, not a number.
 */
import { MAX_GROWTH, shareSafelyNeeded } from './estimate.ts';
import { randomSource } from './random-source.ts';
import { jeffreysMean } from './ranking.ts';

/** A student trained on so many pairs, and how it agrees on the dev pairs that it would answer at the coverage asked for. */
export interface CurvePoint {
  readonly trainPairs: number;
  readonly covered: number;
  readonly agreeing: number;
}

export interface CurveQuestion {
  /** Rising in trainPairs; the last one is the student in question. */
  readonly points: readonly CurvePoint[];
  readonly goalAgreement: number;
  /** Share of the test that is answered. */
  readonly coverage: number;
  readonly pairs: number;
  readonly testPairs: number;
  /** Level of the next look. */
  readonly level: number;
  /** No more growth than this can be paid for: pairs there could be, over pairs there are. At most MAX_GROWTH is looked at. */
  readonly affordableGrowth: number;
}

export interface Forecast {
  /** Of n^-b: 0 where more pairs change nothing. The interval holds nine tenths of the draws. */
  readonly exponent: Interval;
  /** Further pairs, of all splits; what lies beyond MAX_GROWTH is null. */
  readonly furtherPairs: { readonly value: number | null; readonly low: number | null; readonly high: number | null };
  /** Share of the draws that reach the goal at all (within MAX_GROWTH), and with what can be paid for. */
  readonly reaches: number;
  readonly affordable: number;
  /** Agreement by pairs learnt from, from the first point on and up to MAX_GROWTH times the last; its interval holds nine tenths of the draws. */
  readonly ahead: readonly (Interval & { readonly trainPairs: number })[];
}

export interface Interval {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** Fewer points are a line without an error. */
export const MIN_CURVE_POINTS = 3;
/** Steeper is not seen in practice (0.07 to 0.35 in Hestness et al.), but in few points of a small student. */
const MAX_EXPONENT = 1;
const DRAWS = 400;
/** Tails left out on each side of an interval. */
const TAIL = 0.05;
/** Any: the same points always give the same forecast. */
const SEED = 1;
const GROWTH_STEP = 1.05;
/** Where the forecast is told, evenly in the logarithm. */
const AHEAD_POINTS = 24;

/** Undefined with fewer than MIN_CURVE_POINTS points, or without test pairs. */
export function forecast(question: CurveQuestion): Forecast | undefined {
  const points = question.points.filter(({ covered }) => covered > 0);
  if (points.length < MIN_CURVE_POINTS || question.testPairs === 0) return undefined;
  const bars = barsOf(question);
  const random = randomSource(SEED);
  const fits = Array.from({ length: DRAWS }, () => fitOf(points.map((point) => redraw(random, point))));
  const needed = fits.map((fit) => growthNeeded(fit, bars)).sort((a, b) => a - b);
  const exponents = fits.map(({ exponent }) => exponent).sort((a, b) => a - b);
  const best = fitOf(points.map((point) => ({ ...point, share: 1 - jeffreysMean(point.agreeing, point.covered) })));
  const further = (growth: number): number | null =>
    growth === Number.POSITIVE_INFINITY ? null : Math.ceil(question.pairs * (growth - 1));
  const within = (growth: number): number => needed.filter((one) => one <= growth).length / DRAWS;
  return {
    exponent: { value: best.exponent, low: at(exponents, TAIL), high: at(exponents, 1 - TAIL) },
    furtherPairs: {
      value: further(growthNeeded(best, bars)),
      low: further(at(needed, TAIL)),
      high: further(at(needed, 1 - TAIL)),
    },
    reaches: within(MAX_GROWTH),
    affordable: within(Math.min(MAX_GROWTH, question.affordableGrowth)),
    ahead: aheadOf(best, fits, points),
  };
}

const at = (rising: readonly number[], share: number): number => rising[Math.floor(share * (rising.length - 1))]!;

/** Disagreement last·growth^-exponent, where the last point is growth 1. */
interface Fit {
  readonly exponent: number;
  readonly last: number;
}

type Observed = CurvePoint & { readonly share: number };

/** The disagreement that as many other dev pairs might have shown: a draw from its posterior under Jeffreys' prior, as a normal one in log odds. */
function redraw(random: () => number, point: CurvePoint): Observed {
  const { covered, agreeing } = point;
  const [wrong, right] = [covered - agreeing + 0.5, agreeing + 0.5];
  const spread = Math.sqrt(1 / wrong + 1 / right);
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return { ...point, share: 1 / (1 + (right / wrong) * Math.exp(-spread * normal)) };
}

/** ln share = ln a - b·ln n, by least squares; each point weighs by the inverse of its variance in the logarithm. */
function fitOf(points: readonly Observed[]): Fit {
  const weighed = points.map(({ trainPairs, covered, share }) => ({
    x: Math.log(trainPairs),
    y: Math.log(share),
    weight: (covered * share) / (1 - share),
  }));
  const total = weighed.reduce((sum, { weight }) => sum + weight, 0);
  const x = weighed.reduce((sum, point) => sum + point.weight * point.x, 0) / total;
  const y = weighed.reduce((sum, point) => sum + point.weight * point.y, 0) / total;
  const spread = weighed.reduce((sum, point) => sum + point.weight * (point.x - x) ** 2, 0);
  const together = weighed.reduce((sum, point) => sum + point.weight * (point.x - x) * (point.y - y), 0);
  const exponent = Math.min(MAX_EXPONENT, Math.max(0, spread === 0 ? 0 : -together / spread));
  return { exponent, last: Math.min(1, Math.exp(y - exponent * (weighed.at(-1)!.x - x))) };
}

function aheadOf(best: Fit, fits: readonly Fit[], points: readonly CurvePoint[]): Forecast['ahead'] {
  const [first, last] = [points[0]!.trainPairs, points.at(-1)!.trainPairs];
  return Array.from({ length: AHEAD_POINTS }, (_, step) => {
    const growth = (first / last) ** (1 - step / (AHEAD_POINTS - 1)) * MAX_GROWTH ** (step / (AHEAD_POINTS - 1));
    const drawn = fits.map((fit) => agreementAt(fit, growth)).sort((a, b) => a - b);
    const interval = { value: agreementAt(best, growth), low: at(drawn, TAIL), high: at(drawn, 1 - TAIL) };
    return { trainPairs: Math.round(last * growth), ...interval };
  });
}

/** Fewer pairs than a curve begins with may give more than all of the disagreement there can be. */
const agreementAt = ({ exponent, last }: Fit, growth: number): number => Math.max(0, 1 - last * growth ** -exponent);

/** What has to be agreed at each growth for a test of that size to pass in 19 of 20 cases. */
function barsOf({ goalAgreement, coverage, testPairs, level }: CurveQuestion): { growth: number; needed: number }[] {
  const bars: { growth: number; needed: number }[] = [];
  for (let growth = 1; growth <= MAX_GROWTH; growth *= GROWTH_STEP) {
    const needed = shareSafelyNeeded(Math.floor(coverage * testPairs * growth), goalAgreement, level);
    if (needed !== undefined) bars.push({ growth, needed });
  }
  return bars;
}

function growthNeeded({ exponent, last }: Fit, bars: readonly { growth: number; needed: number }[]): number {
  const enough = bars.find(({ growth, needed }) => 1 - last * growth ** -exponent >= needed);
  return enough?.growth ?? Number.POSITIVE_INFINITY;
}
