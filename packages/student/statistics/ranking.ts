/** Pairs in the order in which a falling threshold would cover them. */
export interface Ranking {
  pairs: number;
  /** Confidence of the i-th most confident pair; falling. */
  confidence(rank: number): number;
  /** How many of the `covered` most confident pairs agree. */
  agreeing(covered: number): number;
}

/**
 * Ranks pairs by confidence, the most confident first.
 * @param confidences 0..1 for each pair
 * @param agrees whether the student gave the teacher's label, for each pair
 */
export function rankByConfidence(confidences: ArrayLike<number>, agrees: readonly boolean[]): Ranking {
  const order = agrees.map((_, pair) => pair).sort((a, b) => confidences[b]! - confidences[a]!);
  const sums = new Uint32Array(agrees.length + 1);
  order.forEach((pair, rank) => {
    sums[rank + 1] = sums[rank]! + (agrees[pair] ? 1 : 0);
  });
  return {
    pairs: agrees.length,
    confidence: (rank) => confidences[order[rank]!]!,
    agreeing: (covered) => sums[covered]!,
  };
}

/** How many agree of the most confident ones, and the confidence from which on they are covered. */
export interface RankedPoint {
  confidence: number;
  covered: number;
  agreeing: number;
}

/** Agreement at each coverage: enough points to draw a line by, and too few to tell single pairs. */
const RISK_COVERAGE_POINTS = 50;

/** The ranking at evenly spaced coverages, rising, up to all that is ranked above 0: the rest is the teacher's at any threshold. */
export function riskCoverage(ranking: Ranking): RankedPoint[] {
  let rankable = ranking.pairs;
  while (rankable > 0 && ranking.confidence(rankable - 1) === 0) rankable -= 1;
  const steps = Math.min(RISK_COVERAGE_POINTS, rankable);
  return Array.from({ length: steps }, (_, step) => {
    const covered = Math.round((rankable * (step + 1)) / steps);
    return { confidence: ranking.confidence(covered - 1), covered, agreeing: ranking.agreeing(covered) };
  });
}

/** Mean of the proportion's posterior under Jeffreys' prior: never quite 0 or 1, so that its spread is never 0. */
export function jeffreysMean(successes: number, trials: number): number {
  return (successes + 0.5) / (trials + 1);
}
