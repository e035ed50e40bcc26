import { open } from 'node:fs/promises';
import { BlobError } from '@understudy/service/blobs/blob-store';
import { openS3Object, type S3Settings } from '@understudy/service/blobs/s3-object';
import { messageOf, StartupError } from '@understudy/service/errors';
import { SourceError } from './source.ts';

/** Where the bytes of a source are: a file, or an object in S3. */
export interface Place extends AsyncDisposable {
  readonly sizeBytes: number;
  /** Bytes `from` to `to` (exclusive; to the end where absent). */
  read(from: number, to?: number): AsyncIterable<Buffer>;
}

const READ_BYTES = 256 * 1024;

export const isS3 = (path: string): boolean => path.startsWith('s3://');

/** How messages call a place: without the query of an S3 URL. */
export const placeName = (path: string): string => (isS3(path) ? (path.split('?')[0] ?? path) : path);

/**
 * @param expected what the source should hold, for the message
 * @throws SourceError when it is missing, not a file, or may not be read; BlobError when S3 cannot be reached now
 */
export async function openPlace(path: string, expected: string, s3: S3Settings): Promise<Place> {
  try {
    return isS3(path) ? await openS3Object(path, s3) : await openFile(path, expected);
  } catch (error) {
    if (error instanceof SourceError || (error instanceof BlobError && error.retryable)) throw error;
    const told = error instanceof BlobError || error instanceof StartupError || error instanceof TypeError;
    const reason = told ? messageOf(error) : String(error);
    throw new SourceError(
      placeName(path),
      `expected ${expected}, but it cannot be read: ${reason}; check the path`,
      error,
    );
  }
}

async function openFile(path: string, expected: string): Promise<Place> {
  const handle = await open(path, 'r');
  const status = await handle.stat();
  if (!status.isFile()) {
    await handle.close();
    throw new SourceError(path, `expected ${expected}, got something that is no file`);
  }
  return {
    sizeBytes: status.size,
    async *read(from, to = Number.POSITIVE_INFINITY) {
      if (to <= from) return;
      const range = { start: from, ...(to === Number.POSITIVE_INFINITY ? {} : { end: to - 1 }) };
      yield* handle.createReadStream({
        ...range,
        highWaterMark: READ_BYTES,
        autoClose: false,
      }) as AsyncIterable<Buffer>;
    },
    [Symbol.asyncDispose]: () => handle.close(),
  };
}

/** A range in one piece, for readers that jump. */
export async function bytesOf(place: Place, from: number, to: number): Promise<Buffer> {
  const chunks = await Array.fromAsync(place.read(from, to));
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
}
