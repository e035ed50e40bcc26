import type { GetSnapshotRequest } from '@understudy/contract/pair-store';
import { BlobError, type BlobStore } from '@understudy/service/blobs/blob-store';
import { invalidArgument, notFound } from '@understudy/service/rpc/status';
import { canonicalJson } from '@understudy/task';
import type { PairStoreContext } from '../context.ts';
import { getManifest, type Manifest, refOf } from '../snapshot/manifest.ts';

export async function getSnapshot({ blobs }: PairStoreContext, { snapshotDigest }: GetSnapshotRequest) {
  const manifest = await manifestFor(blobs, snapshotDigest);
  return { snapshot: refOf(snapshotDigest, manifest), task: manifest.task, manifestJson: canonicalJson(manifest) };
}

/** The manifest of a snapshot that a caller named. Throws what the caller is to be told. */
export async function manifestFor(blobs: BlobStore, digest: string): Promise<Manifest> {
  try {
    return await getManifest(blobs, digest);
  } catch (cause) {
    if (!(cause instanceof BlobError)) throw invalidArgument(`${digest} is no manifest of a snapshot`, cause);
    if (cause.code === 'bad-key') throw invalidArgument(`snapshot_digest: ${cause.message}`, cause);
    if (cause.code === 'not-found') throw notFound(`there is no snapshot ${digest}`);
    throw cause;
  }
}
