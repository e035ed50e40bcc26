/**
 * A learning rate that rises linearly to `peak` over the first steps and then falls: `linear` and `cosine` (half a
 * period; Loshchilov, Hutter 2017, arXiv 1608.03983, without restarts) to zero after the last step, `constant` not at all.
 */
export type Schedule = {
  readonly shape: 'linear' | 'cosine' | 'constant';
  readonly peak: number;
  readonly warmupSteps: number;
  readonly totalSteps: number;
};

/** The share of the peak that is left, from the share of the steps after the warm-up that is left, 0..1. */
const HEIGHT: Readonly<Record<Schedule['shape'], (left: number) => number>> = {
  linear: (left) => left,
  cosine: (left) => (1 - Math.cos(Math.PI * left)) / 2,
  constant: () => 1,
};

/** The learning rate of a step, counted from 1. */
export function learningRateAt(step: number, { shape, peak, warmupSteps, totalSteps }: Schedule): number {
  if (step <= warmupSteps) return (peak * step) / warmupSteps;
  const left = (totalSteps - step + 1) / Math.max(totalSteps - warmupSteps, 1);
  return peak * HEIGHT[shape](Math.max(left, 0));
}
