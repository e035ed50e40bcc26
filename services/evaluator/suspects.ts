/** What pair store and trainer say of suspicious pairs, for the report. */
import type { PairStoreService } from '@understudy/contract/pair-store';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { TerminalError } from '@understudy/service/errors';
import type { RpcClient } from '@understudy/service/rpc/client';
import { parseFolds } from '@understudy/student/folds';
import { z } from 'zod';
import type { SuspectsReport } from './report.ts';
import type { Turn } from './turn.ts';

const count = z.int().min(0).default(0);

/** Of a snapshot's manifest: what is told. */
const Manifest = z.object({
  leftOut: z.object({ capped: count, dropped: count, retired: count }),
  settled: count,
  caps: z
    .array(
      z.object({
        kind: z.enum(['trigger', 'near-copies']),
        ...{ what: z.string(), origin: z.string(), answer: z.string() },
        ...{ pairs: z.int().min(0), kept: z.int().min(0) },
      }),
    )
    .default([]),
});

interface Asked {
  readonly pairStore: RpcClient<typeof PairStoreService>;
  readonly turn: Turn;
  readonly traceparent: string | undefined;
  readonly signal: AbortSignal;
}

/**
 * @throws RetryableError while pair store or blobs cannot be reached
 * @throws TerminalError when the trainer's blob is none of folds
 */
export async function readSuspects(
  { pairStore, turn, traceparent, signal }: Asked,
  blobs: BlobStore,
): Promise<SuspectsReport> {
  const { manifestJson } = await pairStore.getSnapshot(
    { snapshotDigest: turn.snapshot.digest },
    { traceparent, signal },
  );
  const { leftOut, settled, caps } = Manifest.parse(JSON.parse(manifestJson));
  return { ...leftOut, settled, caps, folds: await foldsOf(blobs, turn.foldsDigest) };
}

async function foldsOf(blobs: BlobStore, digest: string): Promise<SuspectsReport['folds']> {
  // It may have been erased since, and decides nothing.
  if (digest === '' || !(await blobs.has('folds', digest))) return null;
  const text = new TextDecoder().decode(await blobs.get('folds', digest));
  try {
    const { pairs, agreeing, suspects } = parseFolds(text);
    return { digest, pairs, agreeing, suspects: suspects.length };
  } catch (cause) {
    throw new TerminalError(`folds/${digest} is not what a training across folds found`, { cause });
  }
}
