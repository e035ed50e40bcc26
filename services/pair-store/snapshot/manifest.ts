import { create } from '@bufbuild/protobuf';
import { type SnapshotRef, SnapshotRefSchema } from '@understudy/contract';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { canonicalJson } from '@understudy/task';
import { z } from 'zod';

const count = z.int().min(0);
const perSplit = z.strictObject({ train: count, dev: count, test: count });

/** Train pairs of one source with one answer, of which only the first few are in the snapshot. */
const Cap = z.strictObject({
  /** `trigger`: words that only they have, where all else in them speaks for another answer. `near-copies`: a group of near-duplicates to which other sources have another answer. */
  kind: z.enum(['trigger', 'near-copies']),
  /** The words, or the group's id. */
  what: z.string(),
  origin: z.string(),
  answer: z.string(),
  pairs: count,
  kept: count,
  /** Of those left out: the first. */
  pairIds: z.array(z.string()),
});
export type Cap = z.infer<typeof Cap>;

const pairs = { digest: z.string(), format: z.literal('parquet'), codec: z.literal('zstd'), rows: count };
const rest = {
  task: z.string(),
  /** Of the teacher; empty when no prompt was answered. */
  fingerprint: z.string(),
  splits: perSplit,
  leftOut: z.strictObject({
    /** Close to groups of two splits, to a held-out group without being a random sample, or to an example of the task. */
    quarantined: count,
    /** Test pairs whose group is represented by another pair. */
    testDuplicates: count,
    /** Train pairs beyond the first few of each of `caps`. */
    capped: count.default(0),
    /** Train pairs of inputs that a person dropped. */
    dropped: count.default(0),
    /** Dev and test pairs that a person decided about: who settles where a student disagrees must not judge it by that. */
    retired: count.default(0),
  }),
  /** Train pairs that have a person's answer in place of the teacher's. */
  settled: count.default(0),
  /** Pairs of one source that look as if they were to teach a student something wrong, the most first. */
  caps: z.array(Cap).default([]),
};
/** What a snapshot is; its digest is the snapshot's. Nothing in it depends on when it was sealed, or in which run. */
const Manifest = z.discriminatedUnion('version', [
  z.strictObject({ version: z.literal(1), ...rest, pairs: z.strictObject(pairs) }),
  /** `rowsDigest`: `TableDigest` of the rows, which stays when rows are erased and the file with the digest `digest` is replaced. */
  z.strictObject({ version: z.literal(2), ...rest, pairs: z.strictObject({ ...pairs, rowsDigest: z.string() }) }),
]);
export type Manifest = z.infer<typeof Manifest>;

/** Puts the manifest into the blob store; returns its digest. */
export function putManifest(blobs: BlobStore, manifest: Manifest): Promise<string> {
  return blobs.put('snapshots', new TextEncoder().encode(canonicalJson(manifest)));
}

/** @throws BlobError when there is no such blob; Error when it is no manifest */
export async function getManifest(blobs: BlobStore, digest: string): Promise<Manifest> {
  const text = new TextDecoder().decode(await blobs.get('snapshots', digest));
  return Manifest.parse(JSON.parse(text));
}

export function refOf(digest: string, { fingerprint, splits }: Manifest): SnapshotRef {
  return create(SnapshotRefSchema, {
    digest,
    fingerprint,
    trainPairs: splits.train,
    devPairs: splits.dev,
    testPairs: splits.test,
  });
}
