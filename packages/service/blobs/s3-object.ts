/** Reads objects of a bucket that somebody else fills. */
import { type BlobConfig, s3CredentialsOf } from './open-blob-store.ts';
import { parseS3Url, s3Client, s3Failure } from './s3-client.ts';

/** Where credentials for S3 come from: `commonConfig` holds them. */
export type S3Settings = Omit<BlobConfig, 'DATA_DIR' | 'BLOB_URL'>;

export interface S3Object extends AsyncDisposable {
  readonly sizeBytes: number;
  /** Bytes `from` to `to` (exclusive; to the end where absent) as a stream. Throws BlobError. */
  read(from: number, to?: number): AsyncIterable<Buffer>;
}

/**
 * Opens `s3://bucket/key?endpoint=URL&region=NAME`, with the credentials of the settings, or anonymously where they hold none.
 * @throws TypeError for a malformed URL, StartupError for credentials that cannot be read, BlobError otherwise
 */
export async function openS3Object(url: string, settings: S3Settings): Promise<S3Object> {
  const where = parseS3Url(url);
  const { client, close } = s3Client(where, s3CredentialsOf(settings));
  const { bucket, prefix: key } = where;
  const doing = `read ${key} of the bucket ${bucket} at ${where.endpoint.origin}`;
  const failure = (cause: unknown) => s3Failure(cause, doing);
  try {
    const { size } = await client.statObject(bucket, key);
    return {
      sizeBytes: size,
      async *read(from, to = size) {
        if (to <= from) return;
        try {
          const body = await client.getPartialObject(bucket, key, from, to - from);
          let received = 0;
          for await (const chunk of body as AsyncIterable<Buffer>) {
            received += chunk.length;
            yield chunk;
          }
          if (received < to - from) throw new Error(`the answer ended after ${received} of ${to - from} bytes`);
        } catch (cause) {
          throw failure(cause);
        }
      },
      [Symbol.asyncDispose]: async () => close(),
    };
  } catch (cause) {
    close();
    throw failure(cause);
  }
}
