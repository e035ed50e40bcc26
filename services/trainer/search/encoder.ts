import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { messageOf } from '@understudy/service/errors';
import { TrainingError } from '@understudy/student';
import { readEncoderFolder } from '@understudy/student/encoder/folder';
import type { Task } from '@understudy/task';
import { keepHubDigest, keptHubDigest } from '../outcomes.ts';
import { fetchEncoder, HubError } from './hub.ts';

type TaskEncoder = NonNullable<Task['training']['encoder']>;

/** A published encoder, in a folder here, by its content; or why it cannot be used. */
export type PinnedEncoder =
  | { readonly folder: string; readonly digest: string; readonly modelBytes: number }
  | { readonly unusable: string };

export interface EncoderPlaces {
  readonly blobs: BlobStore;
  readonly hubUrl: string;
  /** Where fetched encoders are kept on this machine. */
  readonly encodersFolder: string;
  /** Ends fetching. */
  readonly signal: AbortSignal;
}

/**
 * Finds a task's encoder, reads and checks it. Its digest makes another model in the same folder another candidate; of a
 * hub's encoder the first digest that was seen stays the only one, whichever machine fetches it again.
 */
export async function pinEncoder({ folder, hub }: TaskEncoder, places: EncoderPlaces): Promise<PinnedEncoder> {
  const { hubUrl, encodersFolder, signal } = places;
  try {
    const found = folder ?? (await fetchEncoder(hub as string, hubUrl, encodersFolder, signal));
    const { digest, model } = await readEncoderFolder(found);
    if (hub !== undefined) await pinToFirst(places.blobs, hub, digest);
    return { folder: found, digest, modelBytes: model.length };
  } catch (error) {
    if (!(error instanceof TrainingError || error instanceof HubError)) throw error;
    return { unusable: messageOf(error) };
  }
}

async function pinToFirst(blobs: BlobStore, hub: string, digest: string): Promise<void> {
  const pinned = await keptHubDigest(blobs, hub);
  if (pinned === undefined) await keepHubDigest(blobs, hub, digest);
  else if (pinned !== digest) {
    throw new HubError(`${hub} has the digest ${digest}, but ${pinned} when it was first fetched; it is not used`);
  }
}
