import type { PairsSealed } from '@understudy/contract';
import { TerminalError } from '@understudy/service/errors';
import { STUDENT_VERSION } from '@understudy/student';
import { sha256Hex } from '@understudy/task';
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
 * Identifies the student that an order leads to: of the same task and snapshot, trained by the same code, whatever run
 * asks for it.
 */
export const studentKey = ({ taskDigest, snapshot }: Order): string =>
  sha256Hex(['bag', STUDENT_VERSION, taskDigest, snapshot.digest].join('\n'));

/** The seed of an order: the same for the same snapshot. 12 hex digits are a safe integer. */
export const seedOf = ({ snapshot }: Order): number => Number.parseInt(snapshot.digest.slice(0, 12), 16);
