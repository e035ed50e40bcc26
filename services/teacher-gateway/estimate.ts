/** What asking a teacher will cost, from a sample of prompts. Pure. Money is in millionths of a US dollar. */

/** A sampled prompt that would have to be asked. */
export interface Unasked {
  /** The most that its call can cost. */
  bound: number;
  /** What it costs by the length of its text, where nothing is known of real calls: expected, and the ends of what is usual. */
  assumed: Range;
}

export interface Range {
  expected: number;
  low: number;
  high: number;
}

/** A call that was made. */
export interface Measured {
  bound: number;
  spent: number;
}

/** Fewer real calls say too little about how they differ. */
export const MIN_MEASURED = 3;
const z = 1.959964;

/**
 * The cost of `prompts` prompts like those sampled, of which some are known already, with a 95% interval. With real calls the
 * ratio of cost to bound is estimated from them (a ratio estimator, Cochran, "Sampling Techniques", 1977, chapter 6); the
 * interval holds what the calls and the sampled bounds vary. Without, it holds what is usual, too.
 */
export const estimateCost = (
  prompts: number,
  { unasked, known }: { unasked: readonly Unasked[]; known: number },
  measured: readonly Measured[],
): Range => {
  const sampled = unasked.length + known;
  if (unasked.length === 0) return { expected: 0, low: 0, high: 0 };
  const toAsk = (prompts * unasked.length) / sampled;
  const total = (each: number) => Math.max(0, each * toAsk);
  if (measured.length < MIN_MEASURED) {
    const meanOf = (pick: (range: Range) => number) => mean(unasked.map(({ assumed }) => pick(assumed)));
    const sampling = z * errorOfMean(unasked.map(({ assumed }) => assumed.expected));
    return {
      expected: total(meanOf(({ expected }) => expected)),
      low: total(meanOf(({ low }) => low) - sampling),
      high: total(meanOf(({ high }) => high) + sampling),
    };
  }
  const meanBound = mean(measured.map(({ bound }) => bound));
  const ratio = meanBound === 0 ? 0 : mean(measured.map(({ spent }) => spent)) / meanBound;
  const bounds = unasked.map(({ bound }) => bound);
  const each = ratio * mean(bounds);
  const ofRatio = errorOfMean(measured.map(({ bound, spent }) => spent - ratio * bound));
  const ofSample = ratio * errorOfMean(bounds);
  const margin = studentT(measured.length - 1) * Math.hypot(ofRatio, ofSample);
  const most = mean(bounds);
  return {
    expected: total(each),
    low: total(each - margin),
    high: Math.min(total(most), total(each + margin)),
  };
};

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

const errorOfMean = (values: readonly number[]): number => {
  if (values.length < 2) return 0;
  const middle = mean(values);
  const squares = values.reduce((sum, value) => sum + (value - middle) ** 2, 0);
  return Math.sqrt(squares / (values.length - 1) / values.length);
};

/** The 97.5% point of Student's t, by Cornish and Fisher's expansion (Abramowitz and Stegun 26.7.5). */
const studentT = (freedom: number): number =>
  z +
  (z ** 3 + z) / (4 * freedom) +
  (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * freedom ** 2) +
  (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / (384 * freedom ** 3);
