/** Which split a new near-duplicate group falls into. */
import { createHash } from 'node:crypto';
import { Split } from '@understudy/contract';

/** Shares of new groups, each 0..1; the rest is train. */
export interface Ratios {
  readonly dev: number;
  readonly test: number;
}

/** Decided by a hash of task and group alone, so that order, batch and run do not matter. */
export function splitOf(task: string, groupId: string, ratios: Ratios): Split {
  const hash = createHash('sha256').update(`split\n${task}\n${groupId}`).digest();
  const place = hash.readUIntBE(0, 6) / 2 ** 48;
  if (place < ratios.test) return Split.TEST;
  if (place < ratios.test + ratios.dev) return Split.DEV;
  return Split.TRAIN;
}
