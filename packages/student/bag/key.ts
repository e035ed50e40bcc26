import { createHash } from 'node:crypto';
import { RUNTIME_VERSION } from '@understudy/graph';
import type { BagHyperparameters } from './hyperparameters.ts';
import type { TrainOptions } from './train.ts';

/** Raised whenever the same examples and hyperparameters would train to other weights than before. */
export const BAG_VERSION = 2;

/**
 * Identifies a training: SHA-256 (hex) of everything that decides its weights. Two trainings with the same key on the
 * same machine give the same student, so a checkpoint of one continues the other.
 */
export function trainingKey(
  { labels, train, dev, seed, threads, device = 'cpu' }: TrainOptions,
  hyperparameters: BagHyperparameters,
): string {
  const hash = createHash('sha256');
  const settings = Object.entries(hyperparameters).toSorted(([a], [b]) => (a < b ? -1 : 1));
  hash.update(
    JSON.stringify({ version: BAG_VERSION, runtime: RUNTIME_VERSION, labels, seed, threads, device, settings }),
  );
  for (const [split, examples] of Object.entries({ train, dev })) {
    hash.update(`\n${split}`);
    for (const { text, target, weight } of examples) hash.update(`\n${JSON.stringify([text, target, weight])}`);
  }
  return hash.digest('hex');
}
