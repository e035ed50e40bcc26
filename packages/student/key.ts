import { createHash } from 'node:crypto';
import { RUNTIME_VERSION } from '@understudy/graph';
import type { StudentTraining } from './family.ts';
import type { Learner } from './learner.ts';

/** Raised whenever the same examples and hyperparameters would train to other weights than before. */
export const STUDENT_VERSION = 3;

/**
 * Identifies a training: SHA-256 (hex) of everything that decides its weights. Two trainings with the same key on the
 * same machine give the same student, so a checkpoint of one continues the other.
 */
export function trainingKey(
  { candidate, heads, train, dev, seed, threads, device = 'cpu', engine = 'ort' }: StudentTraining,
  { settings, pretrained }: Pick<Learner, 'settings' | 'pretrained'>,
): string {
  const hash = createHash('sha256');
  const values = Object.entries(settings).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const [version, runtime, { family }] = [STUDENT_VERSION, RUNTIME_VERSION, candidate];
  hash.update(JSON.stringify({ version, runtime, family, pretrained, heads, seed, threads, device, engine, values }));
  for (const [split, examples] of Object.entries({ train, dev })) {
    hash.update(`\n${split}`);
    for (const { text, target, weight } of examples) hash.update(`\n${JSON.stringify([text, target, weight])}`);
  }
  return hash.digest('hex');
}
