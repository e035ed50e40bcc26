import type { PairsSealed } from '@understudy/contract';
import { TerminalError } from '@understudy/service/errors';
import { z } from 'zod';

const Digest = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hex digits');
const count = z.int().nonnegative();

export const OrderSchema = z.strictObject({
  task: z.string().min(1),
  taskDigest: Digest,
  runId: z.string().min(1),
  seal: count,
  snapshot: z.strictObject({
    digest: Digest,
    fingerprint: z.string(),
    trainPairs: count,
    devPairs: count,
    testPairs: count,
  }),
});

/** What is to be trained: a student of one snapshot, for one seal of a run. */
export type Order = z.infer<typeof OrderSchema>;

/** @throws TerminalError naming what the event lacks */
export function orderOf({ runId, task, taskDigest, seal, snapshot }: PairsSealed): Order {
  const { digest, fingerprint, trainPairs, devPairs, testPairs } = snapshot ?? {};
  const parsed = OrderSchema.safeParse({
    ...{ task, taskDigest, runId, seal },
    snapshot: { digest, fingerprint, trainPairs, devPairs, testPairs },
  });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new TerminalError(`pairs.sealed: ${issue?.path.join('.')}: ${issue?.message}`);
}

/**
 * The seed of an order: the snapshot's, so that the same one gives the same student, moved by the task's. 12 hex digits
 * and the task's 31 bits are a safe integer. The task's default of 1 moves nothing.
 */
export const seedOf = ({ snapshot }: Order, taskSeed: number): number =>
  Number.parseInt(snapshot.digest.slice(0, 12), 16) + taskSeed - 1;
