import type { EpochResult } from './checkpoint.ts';

/** The better of two epochs agrees with the teacher more often on dev, or as often with a lower loss. */
export function isBetter(a: EpochResult, b: EpochResult | undefined): boolean {
  if (!b || a.devAgreement !== b.devAgreement) return !b || a.devAgreement > b.devAgreement;
  return a.devLoss < b.devLoss;
}

/** The best epoch so far; undefined before the first ends. */
export const bestOf = (history: readonly EpochResult[]): EpochResult | undefined =>
  history.reduce<EpochResult | undefined>((best, epoch) => (isBetter(epoch, best) ? epoch : best), undefined);

/** Training stops when neither agreement nor loss on dev has improved for this many epochs. */
export function isStale(history: readonly EpochResult[], patienceEpochs: number): boolean {
  const recent = history.slice(-patienceEpochs);
  const earlier = history.slice(0, -patienceEpochs);
  if (earlier.length === 0) return false;
  const mostAgreed = Math.max(...earlier.map(({ devAgreement }) => devAgreement));
  const leastLoss = Math.min(...earlier.map(({ devLoss }) => devLoss));
  return recent.every(({ devAgreement, devLoss }) => devAgreement <= mostAgreed && devLoss >= leastLoss);
}
