/**
 * Bounds on a share from yes-or-no outcomes that hold at all times together, so that one may look after each outcome and stop when one
 * likes: a mixture of bets (Waudby-Smith and Ramdas 2023, "Estimating means of bounded random variables by betting", arXiv
 * 2010.09686; the mixture goes back to Robbins 1970).
 *
 * While outcomes have a mean of at most q, given all before them, every factor 1 + κ(x − q)/q with κ in (0, 1) has a mean of at most 1; so has the mean
 * of several such products, and by Ville's inequality it ever reaches 1/level with at most that probability. For outcomes of 0 and 1 a
 * product depends on their counts alone, so the counts are all that needs to be remembered.
 */

/**
 * Shares of the stake that are bet, in equal parts. The best one against a true share p is (p − q)/(1 − q): from half a percent, which
 * tells 5% from 5.5%, to nearly all.
 */
const STAKES = Array.from({ length: 12 }, (_, i) => 0.005 * (0.95 / 0.005) ** (i / 11));

/**
 * Evidence that the share is above `share`: while it is not, this ever reaches x with a probability of at most 1/x.
 * @param successes outcomes of 1, a whole number from 0 to `trials`
 * @param share above 0, below 1
 */
export function evidenceAbove(successes: number, trials: number, share: number): number {
  checkCounts(successes, trials);
  const logs = STAKES.map(
    (stake) => successes * Math.log1p((stake * (1 - share)) / share) + (trials - successes) * Math.log1p(-stake),
  );
  const largest = Math.max(...logs);
  return (Math.exp(largest) * logs.reduce((sum, log) => sum + Math.exp(log - largest), 0)) / STAKES.length;
}

/** Evidence that the share is below `share`, likewise. */
export const evidenceBelow = (successes: number, trials: number, share: number): number =>
  evidenceAbove(trials - successes, trials, 1 - share);

/**
 * The largest share that the outcomes rule everything below out of, at all times with a probability of at least 1 − level; 0 without any.
 * @param level above 0, below 1
 */
export function lowerBoundAtAllTimes(successes: number, trials: number, level: number): number {
  checkCounts(successes, trials);
  let [ruledOut, possible] = [0, 1];
  // Evidence falls as the share rises; 40 halvings are exact to 1e-12.
  for (let step = 0; step < 40; step += 1) {
    const middle = (ruledOut + possible) / 2;
    if (evidenceAbove(successes, trials, middle) >= 1 / level) ruledOut = middle;
    else possible = middle;
  }
  return ruledOut;
}

/** The smallest share that they rule everything above out of, likewise; 1 without any. */
export const upperBoundAtAllTimes = (successes: number, trials: number, level: number): number =>
  1 - lowerBoundAtAllTimes(trials - successes, trials, level);

function checkCounts(successes: number, trials: number): void {
  if (Number.isInteger(successes) && Number.isInteger(trials) && successes >= 0 && successes <= trials) return;
  throw new RangeError(`expected whole counts, successes among trials, got ${successes} among ${trials}`);
}
