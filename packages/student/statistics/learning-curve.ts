/**
 * How many further pairs a goal needs, from students trained on nested subsets. The odds of disagreement at a fixed coverage are fitted as
 * a·n^-b: where disagreement is rare that is the power law of Hestness et al. 2017 (arXiv 1712.00409) and Cortes et al. 1993 ("Learning
 * curves: asymptotic values and rate of convergence"), and where it is not, it cannot exceed all there is. The fit is drawn again from its
 * binomial errors many times, so that what is told is an interval and a chance, not a number. Curves of few pairs mostly steepen
 * before they flatten (Viering & Loog 2022, arXiv 2103.10948), so whether there is any hope is asked of steeper ones than were seen.
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
  /** Share of the draws that pass at all (within MAX_GROWTH). */
  readonly reaches: number;
  /** What may still come, by the same draws, each STEEPENING times as steep from here on. */
  readonly hope: Hope;
  /** Agreement by pairs learnt from, from the first point on and up to MAX_GROWTH times the last; its interval holds nine tenths of the draws. */
  readonly ahead: readonly (Interval & { readonly trainPairs: number })[];
}

export interface Hope {
  /** Share of the draws that pass with what can be paid for. */
  readonly affordable: number;
  /** Pairs looked ahead to: what can be paid for, or LOOK_AHEAD times those there are where that is more. */
  readonly pairs: number;
  /** Share of the draws that agree as often as the goal there, whether or not the test is large enough to prove it. */
  readonly reaches: number;
  /** The agreement there that 19 of 20 draws do not exceed. */
  readonly most: number;
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
/**
 * What follows may be so much steeper than what was seen before it counts as hopeless: see the evaluator's DESIGN.md for what was measured.
 */
const STEEPENING = 2;
/** And no steeper than this: 1.3 is the steepest that was measured. Where hardly an answer agrees, the fit's own exponent may be anything. */
const MAX_HOPED_EXPONENT = 2;
/** A budget that pays for fewer times the pairs than this says more of itself than of the task. */
const LOOK_AHEAD = 4;
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
  return {
    exponent: { value: best.exponent, low: at(exponents, TAIL), high: at(exponents, 1 - TAIL) },
    furtherPairs: {
      value: further(growthNeeded(best, bars)),
      low: further(at(needed, TAIL)),
      high: further(at(needed, 1 - TAIL)),
    },
    reaches: needed.filter(Number.isFinite).length / DRAWS,
    hope: hopeOf(question, fits, bars),
    ahead: aheadOf(best, fits, points),
  };
}

const at = (rising: readonly number[], share: number): number => rising[Math.floor(share * (rising.length - 1))]!;

function hopeOf({ pairs, goalAgreement, affordableGrowth }: CurveQuestion, fits: readonly Fit[], bars: Bars): Hope {
  const steeper = fits.map((fit) => ({ ...fit, exponent: Math.min(MAX_HOPED_EXPONENT, STEEPENING * fit.exponent) }));
  const payable = Math.min(MAX_GROWTH, affordableGrowth);
  const growth = Math.max(LOOK_AHEAD, payable);
  const agreements = steeper.map((fit) => agreementAt(fit, growth)).sort((a, b) => a - b);
  return {
    affordable: steeper.filter((fit) => growthNeeded(fit, bars) <= payable).length / DRAWS,
    pairs: Math.round(pairs * growth),
    reaches: agreements.filter((agreement) => agreement >= goalAgreement).length / DRAWS,
    most: at(agreements, 1 - TAIL),
  };
}

/** Odds of disagreement lastOdds·growth^-exponent, where the last point is growth 1. */
interface Fit {
  readonly exponent: number;
  readonly lastOdds: number;
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

/** ln odds = ln a - b·ln n, by least squares; each point weighs by the inverse of its variance in log odds. */
function fitOf(points: readonly Observed[]): Fit {
  const weighed = points.map(({ trainPairs, covered, share }) => ({
    x: Math.log(trainPairs),
    y: Math.log(share / (1 - share)),
    weight: covered * share * (1 - share),
  }));
  const total = weighed.reduce((sum, { weight }) => sum + weight, 0);
  const x = weighed.reduce((sum, point) => sum + point.weight * point.x, 0) / total;
  const y = weighed.reduce((sum, point) => sum + point.weight * point.y, 0) / total;
  const spread = weighed.reduce((sum, point) => sum + point.weight * (point.x - x) ** 2, 0);
  const together = weighed.reduce((sum, point) => sum + point.weight * (point.x - x) * (point.y - y), 0);
  const exponent = Math.min(MAX_EXPONENT, Math.max(0, spread === 0 ? 0 : -together / spread));
  return { exponent, lastOdds: Math.exp(y - exponent * (weighed.at(-1)!.x - x)) };
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

const agreementAt = ({ exponent, lastOdds }: Fit, growth: number): number => 1 / (1 + lastOdds * growth ** -exponent);

type Bars = readonly { readonly growth: number; readonly needed: number }[];

/** What has to be agreed at each growth for a test of that size to pass in 19 of 20 cases. */
function barsOf({ goalAgreement, coverage, testPairs, level }: CurveQuestion): Bars {
  const bars: { growth: number; needed: number }[] = [];
  for (let growth = 1; growth <= MAX_GROWTH; growth *= GROWTH_STEP) {
    const needed = shareSafelyNeeded(Math.floor(coverage * testPairs * growth), goalAgreement, level);
    if (needed !== undefined) bars.push({ growth, needed });
  }
  return bars;
}

function growthNeeded(fit: Fit, bars: Bars): number {
  const enough = bars.find(({ growth, needed }) => agreementAt(fit, growth) >= needed);
  return enough?.growth ?? Number.POSITIVE_INFINITY;
}
