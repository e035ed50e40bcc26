/**
 * One-sided Clopper–Pearson bounds (Clopper and Pearson 1934): exact whatever the sample size, never below their level.
 *
 * The lower bound of k out of n at level a is the p at which k or more successes have probability a. It is found by
 * halving the interval around that very definition. The usual way through the inverse incomplete beta function gives
 * the same numbers; the libraries that compute it bring a hundred packages (@stdlib) or are off in the fifth digit (jstat).
 */

/** Halvings of [0, k/n]: one for each bit of a double, and some for the leading zeros of a small bound. */
const BISECTIONS = 80;
/** Terms of a tail smaller than this share of its sum change nothing in a double. */
const NEGLIGIBLE = 1e-17;

/**
 * Lower confidence bound of a proportion.
 * @param successes k, 0..trials
 * @param trials n, a whole number
 * @param level chance that the true proportion is below the bound, between 0 and 1
 * @returns 0..1; 0 where nothing succeeded, so also without trials
 * @throws RangeError when the counts or the level make no sense
 */
export function lowerBound(successes: number, trials: number, level: number): number {
  checkCounts(successes, trials);
  checkLevel(level);
  if (successes === 0) return 0;
  let low = 0;
  let high = successes / trials;
  for (let halving = 0; halving < BISECTIONS; halving += 1) {
    const middle = (low + high) / 2;
    if (upperTail(successes, trials, middle) <= level) low = middle;
    else high = middle;
  }
  return low;
}

/** Upper confidence bound of a proportion: 1 - lowerBound of the failures. Parameters and errors as there. */
export function upperBound(successes: number, trials: number, level: number): number {
  return 1 - lowerBound(trials - successes, trials, level);
}

/**
 * The fewest successes whose lower bound reaches the goal.
 * @returns 0..trials, or undefined when even success in all trials proves too little
 */
export function successesNeeded(trials: number, goal: number, level: number): number | undefined {
  checkCounts(0, trials);
  checkLevel(level);
  if (goal <= 0) return 0;
  if (goal >= 1 || trials === 0 || goal ** trials > level) return undefined;
  // lowerBound(k) >= goal exactly when k or more successes at p = goal have at most the level's probability.
  let enough = trials;
  let tooFew = Math.floor(trials * goal);
  while (enough - tooFew > 1) {
    const middle = Math.floor((enough + tooFew) / 2);
    if (upperTail(middle, trials, goal) <= level) enough = middle;
    else tooFew = middle;
  }
  return enough;
}

/**
 * How likely so few successes are where the true proportion is `share`: P(X <= successes). Small values are evidence that
 * the proportion is lower; the upper bound at level a lies below the share exactly where this is below a.
 * @param share 0..1
 * @returns 0..1; 1 without trials
 */
export function chanceOfSoFew(successes: number, trials: number, share: number): number {
  checkCounts(successes, trials);
  if (!(share >= 0 && share <= 1)) throw new RangeError(`expected a share of 0..1, got ${share}`);
  if (successes === trials || share === 0) return 1;
  if (share === 1) return 0;
  // Terms fall from the first one on only beyond the mean, so each side of it is summed from its own end.
  if (successes <= trials * share) return Math.min(1, upperTail(trials - successes, trials, 1 - share));
  return Math.max(0, 1 - upperTail(successes + 1, trials, share));
}

/** P(X >= k) for X ~ Binomial(n, p), for k of at least n·p: there the terms fall from the first one on. */
function upperTail(k: number, n: number, p: number): number {
  if (p === 0) return 0;
  if (p === 1) return 1;
  const odds = p / (1 - p);
  let term = Math.exp(
    logFactorial(n) - logFactorial(k) - logFactorial(n - k) + k * Math.log(p) + (n - k) * Math.log1p(-p),
  );
  let sum = term;
  for (let i = k; i < n && term > sum * NEGLIGIBLE; i += 1) {
    term *= ((n - i) / (i + 1)) * odds;
    sum += term;
  }
  return sum;
}

/** Below this, factorials are summed; from here on three terms of Stirling's series are exact to a double. */
const STIRLING_FROM = 64;
const smallLogFactorials = Float64Array.from({ length: STIRLING_FROM }, (_, n) => {
  let sum = 0;
  for (let i = 2; i <= n; i += 1) sum += Math.log(i);
  return sum;
});

function logFactorial(n: number): number {
  if (n < STIRLING_FROM) return smallLogFactorials[n]!;
  const correction = 1 / (12 * n) - 1 / (360 * n ** 3) + 1 / (1260 * n ** 5);
  return n * Math.log(n) - n + Math.log(2 * Math.PI * n) / 2 + correction;
}

function checkCounts(successes: number, trials: number): void {
  if (!Number.isInteger(successes) || !Number.isInteger(trials) || successes < 0 || successes > trials) {
    throw new RangeError(`expected whole numbers 0 <= successes <= trials, got ${successes} of ${trials}`);
  }
}

function checkLevel(level: number): void {
  if (!(level > 0 && level < 1)) throw new RangeError(`expected a level between 0 and 1, got ${level}`);
}
