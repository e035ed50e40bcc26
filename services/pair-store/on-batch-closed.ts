import { createHash } from 'node:crypto';
import type { BatchClosed } from '@understudy/contract';
import { BlobError, type BlobStore } from '@understudy/service/blobs/blob-store';
import type { Event } from '@understudy/service/bus/settle';
import { TerminalError } from '@understudy/service/errors';
import type { PairStoreContext } from './context.ts';
import { closeBatch } from './store/batches.ts';

/** From now on the batch is waited for: it is complete when each of its prompts has an outcome in this run. */
export async function onBatchClosed(context: PairStoreContext, event: Event<'batch.closed'>): Promise<void> {
  const { runId, batch, task, taskDigest, seal, count } = event.payload;
  const manifest = await manifestOf(context.blobs, event.payload);
  if (manifest.promptIds.length !== count) {
    throw new TerminalError(
      `count: the manifest holds ${manifest.promptIds.length} distinct ids, the fact says ${count}`,
    );
  }
  const { traceparent } = event;
  await closeBatch(context.database, { runId, batch, task, taskDigest, seal, traceparent, ...manifest });
  context.wakeSealer();
}

interface Manifest {
  readonly manifestDigest: string;
  /** Distinct, sorted. */
  readonly promptIds: readonly string[];
}

const ID_BYTES = 32;
const ID = /^[0-9a-f]{64}$/;

async function manifestOf(blobs: BlobStore, closed: BatchClosed): Promise<Manifest> {
  const { manifestDigest, promptIds } = closed;
  const given = Number(manifestDigest !== '') + Number(promptIds.length > 0);
  if (given > 1 || (given === 0 && closed.count > 0)) {
    throw new TerminalError(`expected either manifest_digest or prompt_ids, came ${given === 0 ? 'neither' : 'both'}`);
  }
  if (manifestDigest === '') return manifestFromIds(promptIds);
  const lines = new TextDecoder().decode(await manifestBlob(blobs, manifestDigest)).split('\n');
  if (lines.at(-1) === '') lines.pop();
  const malformed = lines.findIndex((line) => !ID.test(line));
  if (malformed >= 0) {
    throw new TerminalError(
      `manifest ${manifestDigest}, line ${malformed + 1}: expected 64 hex digits, came ${JSON.stringify(lines[malformed]?.slice(0, 100))}`,
    );
  }
  return { manifestDigest, promptIds: [...new Set(lines)] };
}

function manifestFromIds(bytes: Uint8Array): Manifest {
  if (bytes.length % ID_BYTES !== 0) {
    throw new TerminalError(`prompt_ids: expected ${ID_BYTES} bytes for each id, came ${bytes.length} bytes in all`);
  }
  const hex = Buffer.from(bytes).toString('hex');
  const ids = new Set(hex.match(/.{64}/g) ?? []);
  const promptIds = [...ids].sort();
  return {
    manifestDigest: createHash('sha256')
      .update(promptIds.map((id) => `${id}\n`).join(''))
      .digest('hex'),
    promptIds,
  };
}

async function manifestBlob(blobs: BlobStore, digest: string): Promise<Uint8Array> {
  try {
    return await blobs.get('manifests', digest);
  } catch (cause) {
    const hopeless = cause instanceof BlobError && (cause.code === 'bad-key' || cause.code === 'corrupt');
    if (hopeless) throw new TerminalError(`manifest_digest: ${cause.message}`, { cause });
    throw cause;
  }
}
