/**
 * What the trainer keeps of its searches in the blob store, so that a message that comes again, another run over the
 * same snapshot, or a trainer that was killed trains nothing twice.
 */
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { sha256Hex } from '@understudy/task/canonical';
import { z } from 'zod';
import { type Trained, TrainedSchema } from './training/protocol.ts';

/** How a candidate ended for good. */
const EndSchema = z.union([z.strictObject({ trained: TrainedSchema }), z.strictObject({ failed: z.string().min(1) })]);
export type End = z.infer<typeof EndSchema>;

const CandidateReportSchema = z.strictObject({
  name: z.string(),
  family: z.string(),
  status: z.enum(['trained', 'failed', 'skipped', 'stopped']),
  /** Why it was not trained to the end; empty where it was. */
  reason: z.string(),
  onFront: z.boolean(),
  trained: TrainedSchema.optional(),
});
/** What a search says of one candidate. */
export type CandidateReport = z.infer<typeof CandidateReportSchema>;

const CurvePointSchema = z.strictObject({
  trainPairs: z.int().positive(),
  /** Pairs unseen in training that it would answer at the coverage asked for, as in \`search/measure.ts\`. */
  covered: z.int().nonnegative(),
  agreeing: z.int().nonnegative(),
  trainingMs: z.int().nonnegative(),
});
/** The chosen candidate trained on a part of train. */
export type CurvePoint = z.infer<typeof CurvePointSchema>;

const OutcomeSchema = z.strictObject({
  family: z.string(),
  chosen: TrainedSchema,
  candidates: z.array(CandidateReportSchema).min(1),
  /** The time spent on it, over all the processes that were at it. */
  searchMs: z.int().nonnegative(),
  /** The chosen one on nested parts of train and on all of it; empty where it is good enough. */
  curve: z.array(CurvePointSchema).default([]),
  /** Blob digest of the suspects that were found; absent where none were looked for. */
  foldsDigest: z.string().optional(),
});
/** What a search has led to. */
export type Outcome = z.infer<typeof OutcomeSchema>;

const ClockSchema = z.strictObject({ spentMs: z.int().nonnegative() });

const outcomeName = (key: string): string => `trainer/${key}/outcome.json`;
const clockName = (key: string): string => `trainer/${key}/clock.json`;
const endName = (key: string): string => `trainer/${key}/end.json`;
/** Where the candidate of a key keeps its checkpoint. */
export const checkpointName = (key: string): string => `trainer/${key}/checkpoint`;

/** What the search of a key has led to; undefined when it has not ended, or its student is gone. */
export async function keptOutcome(blobs: BlobStore, searchKey: string): Promise<Outcome | undefined> {
  const outcome = await read(blobs, outcomeName(searchKey), OutcomeSchema);
  return outcome && (await isStored(blobs, outcome.chosen)) ? outcome : undefined;
}

/** Keeps what a search has led to, after which its clock and its candidates' checkpoints are of no use. */
export async function keepOutcome(
  blobs: BlobStore,
  searchKey: string,
  candidateKeys: readonly string[],
  outcome: Outcome,
): Promise<void> {
  await write(blobs, outcomeName(searchKey), OutcomeSchema.parse(outcome));
  await forgetProgress(blobs, searchKey, candidateKeys);
}

/** Forgets how far a search has come. What its candidates have ended in stays. */
export async function forgetProgress(
  blobs: BlobStore,
  searchKey: string,
  candidateKeys: readonly string[],
): Promise<void> {
  for (const key of candidateKeys) await blobs.removeNamed(checkpointName(key));
  await blobs.removeNamed(clockName(searchKey));
}

/** How the candidate of a key ended; undefined when it has not, or its student is gone. */
export async function keptEnd(blobs: BlobStore, candidateKey: string): Promise<End | undefined> {
  const end = await read(blobs, endName(candidateKey), EndSchema);
  return end && ('failed' in end || (await isStored(blobs, end.trained))) ? end : undefined;
}

/** Keeps how a candidate ended, after which its checkpoint is of no use. */
export async function keepEnd(blobs: BlobStore, candidateKey: string, end: End): Promise<void> {
  await write(blobs, endName(candidateKey), end);
  await blobs.removeNamed(checkpointName(candidateKey));
}

/** Milliseconds that earlier processes spent on the search of a key. */
export async function keptSpentMs(blobs: BlobStore, searchKey: string): Promise<number> {
  return (await read(blobs, clockName(searchKey), ClockSchema))?.spentMs ?? 0;
}

export const keepSpentMs = (blobs: BlobStore, searchKey: string, spentMs: number): Promise<void> =>
  write(blobs, clockName(searchKey), { spentMs });

const HubDigestSchema = z.strictObject({ digest: z.string() });

const hubDigestName = (encoder: string): string => `trainer/${sha256Hex(`hub\n${encoder}`)}/encoder.json`;

/** The digest of a hub's encoder when it was first fetched. */
export async function keptHubDigest(blobs: BlobStore, encoder: string): Promise<string | undefined> {
  return (await read(blobs, hubDigestName(encoder), HubDigestSchema))?.digest;
}

export const keepHubDigest = (blobs: BlobStore, encoder: string, digest: string): Promise<void> =>
  write(blobs, hubDigestName(encoder), { digest });

const isStored = (blobs: BlobStore, { studentDigest }: Trained): Promise<boolean> =>
  blobs.has('students', studentDigest);

/** Undefined where there is nothing, or what there is was written by another version or is damaged: then it is made again. */
async function read<S extends z.ZodType>(blobs: BlobStore, name: string, schema: S): Promise<z.infer<S> | undefined> {
  const bytes = await blobs.getNamed(name);
  if (!bytes) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
  return schema.safeParse(value).data;
}

const write = (blobs: BlobStore, name: string, value: unknown): Promise<void> =>
  blobs.putNamed(name, new TextEncoder().encode(JSON.stringify(value)));
