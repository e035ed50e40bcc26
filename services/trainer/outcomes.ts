import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { FAMILIES } from '@understudy/student/family';
import { z } from 'zod';
import { type Order, studentKey } from './order.ts';
import type { Trained } from './training/protocol.ts';

const OutcomeSchema = z.strictObject({
  family: z.enum(FAMILIES),
  studentDigest: z.string().regex(/^[0-9a-f]{64}$/),
  sizeBytes: z.int().positive(),
  devAgreement: z.number().min(0).max(1),
  trainingMs: z.int().nonnegative(),
});

/** Where the training of an order keeps its checkpoint. */
export const checkpointName = (order: Order): string => `trainer/${studentKey(order)}/checkpoint`;
const outcomeName = (order: Order): string => `trainer/${studentKey(order)}/outcome.json`;

/**
 * The student that an order has led to already, so that a message that comes again, or another run over the same
 * snapshot, trains nothing twice. Undefined when there is none, or it cannot be used any more.
 */
export async function keptOutcome(blobs: BlobStore, order: Order): Promise<Trained | undefined> {
  const bytes = await blobs.getNamed(outcomeName(order));
  if (!bytes) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
  const { data } = OutcomeSchema.safeParse(value);
  return data && (await blobs.has('students', data.studentDigest)) ? data : undefined;
}

/** Keeps what an order has led to, after which its checkpoint is of no use. */
export async function keepOutcome(blobs: BlobStore, order: Order, trained: Trained): Promise<void> {
  await blobs.putNamed(outcomeName(order), new TextEncoder().encode(JSON.stringify(trained)));
  await forgetCheckpoint(blobs, order);
}

export const forgetCheckpoint = (blobs: BlobStore, order: Order): Promise<void> =>
  blobs.removeNamed(checkpointName(order));
