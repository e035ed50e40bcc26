/** Temperature scaling (Guo et al. 2017, "On calibration of modern neural networks") and the expected calibration error. */

/** Hotter or colder than this is no calibration: on pairs that a student answers without a fault, colder is always better. */
export const MIN_TEMPERATURE = 0.05;
export const MAX_TEMPERATURE = 20;
/** Halvings of the range of 1/temperature: to about nine digits. */
const BISECTIONS = 40;
/** Bins of the reliability table; the customary number. */
const BINS = 15;

/**
 * The temperature with the least negative log likelihood of the labels. The likelihood is convex in b = 1/temperature, with
 * slope sum(E[z] - z_label) where E weighs the logits z by softmax(b·z); the slope's zero is found by bisection.
 * @param logits one array of as many logits as labels exist for each pair
 * @param labels index of the right label for each pair
 * @returns MIN_TEMPERATURE..MAX_TEMPERATURE; 1 without pairs
 */
export function fitTemperature(logits: readonly ArrayLike<number>[], labels: ArrayLike<number>): number {
  if (logits.length === 0) return 1;
  const slope = (inverse: number): number => {
    let sum = 0;
    logits.forEach((row, pair) => {
      sum += softmaxMean(row, inverse) - row[labels[pair]!]!;
    });
    return sum;
  };
  let low = 1 / MAX_TEMPERATURE;
  let high = 1 / MIN_TEMPERATURE;
  if (slope(high) <= 0) return MIN_TEMPERATURE;
  if (slope(low) >= 0) return MAX_TEMPERATURE;
  for (let halving = 0; halving < BISECTIONS; halving += 1) {
    const middle = (low + high) / 2;
    if (slope(middle) < 0) low = middle;
    else high = middle;
  }
  return 2 / (low + high);
}

/** Mean negative log likelihood, in nats, of the labels under softmax(logits / temperature). Parameters as above. */
export function negativeLogLikelihood(
  logits: readonly ArrayLike<number>[],
  labels: ArrayLike<number>,
  temperature: number,
): number {
  let sum = 0;
  logits.forEach((row, pair) => {
    const largest = largestOf(row);
    let total = 0;
    for (let label = 0; label < row.length; label += 1) total += Math.exp((row[label]! - largest) / temperature);
    sum += Math.log(total) - (row[labels[pair]!]! - largest) / temperature;
  });
  return logits.length === 0 ? 0 : sum / logits.length;
}

/** Pairs whose confidence falls between two bounds. */
export interface ReliabilityBin {
  from: number;
  to: number;
  pairs: number;
  /** Means over the bin's pairs. */
  confidence: number;
  agreement: number;
}

/** Bins that hold pairs, and the expected calibration error: the mean distance of confidence and agreement, by pairs. */
export interface Reliability {
  expectedCalibrationError: number;
  bins: ReliabilityBin[];
}

/**
 * Confidence against agreement in bins of equal width.
 * @param confidences 0..1 for each pair
 * @param agrees whether the student gave the teacher's label, for each pair
 */
export function reliability(confidences: ArrayLike<number>, agrees: readonly boolean[]): Reliability {
  const sums = Array.from({ length: BINS }, () => ({ pairs: 0, confidence: 0, agreeing: 0 }));
  agrees.forEach((agreed, pair) => {
    const confidence = confidences[pair]!;
    const bin = sums[Math.min(BINS - 1, Math.floor(confidence * BINS))]!;
    bin.pairs += 1;
    bin.confidence += confidence;
    if (agreed) bin.agreeing += 1;
  });
  const distance = sums.reduce((total, bin) => total + Math.abs(bin.confidence - bin.agreeing), 0);
  const bins = sums.flatMap(({ pairs, confidence, agreeing }, index) => {
    if (pairs === 0) return [];
    const bounds = { from: index / BINS, to: (index + 1) / BINS };
    return [{ ...bounds, pairs, confidence: confidence / pairs, agreement: agreeing / pairs }];
  });
  return { expectedCalibrationError: agrees.length === 0 ? 0 : distance / agrees.length, bins };
}

function softmaxMean(row: ArrayLike<number>, inverse: number): number {
  const largest = largestOf(row);
  let total = 0;
  let weighted = 0;
  for (let label = 0; label < row.length; label += 1) {
    const weight = Math.exp((row[label]! - largest) * inverse);
    total += weight;
    weighted += weight * row[label]!;
  }
  return weighted / total;
}

function largestOf(row: ArrayLike<number>): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (let label = 0; label < row.length; label += 1) if (row[label]! > largest) largest = row[label]!;
  return largest;
}
