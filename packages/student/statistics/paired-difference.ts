/**
 * How much worse or better one student does than another on the same pairs: Tango's score bound (Tango 1998, "Equivalence test and
 * confidence interval for the difference in proportions for the paired-sample design", Statistics in Medicine 17: 891-908). Simulated
 * with 100 to 1,000 pairs of which 0.5% to 10% differ, a bound at 5% is above the truth in 0% to 5.9% of cases, one at 3% in 0% to 3.5%.
 */

/** Halvings of [-1, difference]: to about twelve digits. */
const BISECTIONS = 42;

export interface PairedCounts {
  readonly pairs: number;
  /** Pairs that only the first one has right, and those that only the second one has. */
  readonly onlyFirst: number;
  readonly onlySecond: number;
}

/**
 * One-sided lower bound of (share the first has right) - (share the second has right).
 * @param level chance that the true difference is below the bound, between 0 and 0.5
 * @returns -1..1; -1 without pairs
 * @throws RangeError when counts or level make no sense
 */
export function differenceLowerBound(counts: PairedCounts, level: number): number {
  const { pairs, onlyFirst, onlySecond } = counts;
  const whole = [pairs, onlyFirst, onlySecond].every((count) => Number.isInteger(count) && count >= 0);
  if (!whole || onlyFirst + onlySecond > pairs) {
    throw new RangeError(`expected whole numbers with onlyFirst + onlySecond <= pairs, got ${JSON.stringify(counts)}`);
  }
  if (!(level > 0 && level < 0.5)) throw new RangeError(`expected a level between 0 and 0.5, got ${level}`);
  if (pairs === 0) return -1;
  const critical = normalQuantile(1 - level);
  let low = -1;
  let high = (onlyFirst - onlySecond) / pairs;
  for (let halving = 0; halving < BISECTIONS; halving += 1) {
    const middle = (low + high) / 2;
    if (score(counts, middle) >= critical) low = middle;
    else high = middle;
  }
  return low;
}

/** Standard errors between the difference seen and a supposed one, the errors taken at the likeliest shares that have the supposed one. */
function score({ pairs, onlyFirst, onlySecond }: PairedCounts, supposed: number): number {
  const a = 2 * pairs;
  const b = -onlyFirst - onlySecond + (2 * pairs - onlyFirst + onlySecond) * supposed;
  const c = -onlySecond * supposed * (1 - supposed);
  const second = (Math.sqrt(Math.max(0, b * b - 4 * a * c)) - b) / (2 * a);
  const variance = pairs * (2 * second + supposed * (1 - supposed));
  return variance <= 0 ? Number.POSITIVE_INFINITY : (onlyFirst - onlySecond - pairs * supposed) / Math.sqrt(variance);
}

/** Where the standard normal distribution reaches a share of 0.5..1: its function, summed as a power series (Marsaglia 2004), halved on. */
export function normalQuantile(share: number): number {
  let [low, high] = [0, 9];
  for (let halving = 0; halving < 60; halving += 1) {
    const middle = (low + high) / 2;
    if (normalShare(middle) < share) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** The standard normal distribution function, for 0..9. */
function normalShare(x: number): number {
  let [sum, term] = [x, x];
  for (let i = 3; term > sum * 1e-17; i += 2) {
    term *= (x * x) / i;
    sum += term;
  }
  return 0.5 + sum * Math.exp(-(x * x) / 2 - Math.log(2 * Math.PI) / 2);
}
