import { expect, it } from 'vitest';
import type { Candidate } from './family.ts';
import { smallStudent } from './testing.ts';

const CANDIDATES: readonly Candidate[] = [
  { family: 'bag', hyperparameters: { rows: 1_024, width: 8, batchTexts: 8, epochs: 2 } },
  { family: 'conv', hyperparameters: { width: 16, filters: 8, batchTexts: 16, epochs: 1 } },
  { family: 'transformer', hyperparameters: { width: 16, batchTexts: 16, epochs: 1 } },
];

/** Mean losses of epochs, in nats; both engines compute in float32, and part by 6e-6 here. */
const TOLERANCE = 1e-4;

it.each(CANDIDATES)('a $family trains on tfjs as on ort, dropout, buckets, clipping and all', async (candidate) => {
  const [ours, theirs] = [await smallStudent({ candidate }), await smallStudent({ candidate, engine: 'tfjs' })];
  expect(theirs.description.training.engine).toBe('tfjs');
  const [mine, other] = [ours, theirs].map(({ description }) => description.training.epochs);
  expect(other).toHaveLength(mine?.length as number);
  for (const [i, { loss, devLoss }] of (mine ?? []).entries()) {
    expect(Math.abs(loss - (other?.[i]?.loss as number)), `epoch ${i + 1}`).toBeLessThan(TOLERANCE);
    expect(Math.abs(devLoss - (other?.[i]?.devLoss as number)), `dev after epoch ${i + 1}`).toBeLessThan(TOLERANCE);
  }
});
