/**
 * Holm's step-down correction (Holm 1979, "A simple sequentially rejective multiple test procedure"): the chance that any true
 * hypothesis is rejected stays below the level, however the tests depend on each other, and never rejects less than Bonferroni.
 * @param pValues 0..1
 * @returns the adjusted values in the same order, 0..1: reject where one is at most the level
 */
export function holm(pValues: readonly number[]): number[] {
  const order = pValues.map((_, i) => i).sort((a, b) => pValues[a]! - pValues[b]!);
  const adjusted = new Array<number>(pValues.length);
  let largest = 0;
  order.forEach((i, rank) => {
    largest = Math.max(largest, Math.min(1, (pValues.length - rank) * pValues[i]!));
    adjusted[i] = largest;
  });
  return adjusted;
}
