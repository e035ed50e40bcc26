/** Blobs in a bucket of any server that speaks S3 and honours `If-None-Match: *` on PutObject. */
import { randomUUID } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import { Client, S3Error } from 'minio';
import {
  type BlobContent,
  BlobError,
  type BlobErrorCode,
  type BlobStore,
  blobKey,
  boundedChunks,
  checkedKind,
  checkSize,
  collect,
  digestOf,
  MAX_BLOB_BYTES,
  namedKey,
  verified,
} from './blob-store.ts';

/** A server that sends nothing for this long is taken for dead; the slowest honest one answers a PUT of 512 MiB sooner. */
const SILENCE_MS = 60_000;
/** Further tries of a request that was answered with a passing fault (429, 5xx); the handler above retries the rest. */
const RETRIES = 3;

const CODES: Readonly<Record<string, BlobErrorCode>> = {
  NoSuchKey: 'not-found',
  NotFound: 'not-found',
  AccessDenied: 'denied',
  InvalidAccessKeyId: 'denied',
  SignatureDoesNotMatch: 'denied',
  ExpiredToken: 'denied',
  NoSuchBucket: 'denied',
  EntityTooLarge: 'too-large',
  QuotaExceeded: 'no-space',
  XMinioStorageFull: 'no-space',
};

/** What the server answers when the key exists already, and when two writers of one key meet. */
const EXISTS = new Set(['PreconditionFailed', 'ConditionalRequestConflict']);

export interface S3Location {
  readonly endpoint: URL;
  readonly region: string;
  readonly bucket: string;
  /** Without slashes at its ends; may be empty. */
  readonly prefix: string;
}

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

export class S3BlobStore implements BlobStore {
  readonly location: string;
  readonly #client: Client;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #agent: http.Agent;

  private constructor(where: S3Location, credentials: S3Credentials) {
    const secure = where.endpoint.protocol === 'https:';
    this.location = `s3://${[where.bucket, where.prefix].filter(Boolean).join('/')} at ${where.endpoint.origin}`;
    this.#bucket = where.bucket;
    this.#prefix = where.prefix === '' ? '' : `${where.prefix}/`;
    this.#agent = new (secure ? https : http).Agent({ keepAlive: true });
    this.#client = new Client({
      endPoint: where.endpoint.hostname,
      port: where.endpoint.port === '' ? (secure ? 443 : 80) : Number(where.endpoint.port),
      useSSL: secure,
      region: where.region,
      accessKey: credentials.accessKeyId,
      secretKey: credentials.secretAccessKey,
      ...(credentials.sessionToken ? { sessionToken: credentials.sessionToken } : {}),
      // A multipart upload is not conditional, so every blob is one PUT.
      partSize: MAX_BLOB_BYTES,
      transport: impatient(secure ? https : http),
      transportAgent: this.#agent,
      retryOptions: { maximumRetryCount: RETRIES },
    });
  }

  /** Proves that the bucket can be written to and that the server honours `If-None-Match`; rejects otherwise. */
  static async open(where: S3Location, credentials: S3Credentials): Promise<S3BlobStore> {
    const store = new S3BlobStore(where, credentials);
    try {
      await store.#probe();
    } catch (cause) {
      await store[Symbol.asyncDispose]();
      throw cause;
    }
    return store;
  }

  async put(kind: string, content: BlobContent): Promise<string> {
    checkedKind(kind);
    const bytes = await collect(boundedChunks(content, `a blob for ${kind}`));
    const digest = digestOf(bytes);
    if (!(await this.has(kind, digest))) await this.#create(blobKey(kind, digest), bytes);
    return digest;
  }

  async get(kind: string, digest: string): Promise<Uint8Array> {
    return collect(this.read(kind, digest));
  }

  async *read(kind: string, digest: string): AsyncGenerator<Uint8Array> {
    const key = blobKey(kind, digest);
    try {
      const body = await this.#client.getObject(this.#bucket, this.#prefix + key);
      yield* verified(body, digest, `${key} in ${this.location}`);
    } catch (cause) {
      throw this.#error(cause, `read the blob ${key}`);
    }
  }

  async has(kind: string, digest: string): Promise<boolean> {
    const key = blobKey(kind, digest);
    try {
      await this.#client.statObject(this.#bucket, this.#prefix + key);
      return true;
    } catch (cause) {
      const error = this.#error(cause, `look for the blob ${key}`);
      if (error.code === 'not-found') return false;
      throw error;
    }
  }

  async putNamed(name: string, content: Uint8Array): Promise<void> {
    const key = namedKey(name);
    checkSize(content.length, `the object ${name}`);
    try {
      await this.#client.putObject(this.#bucket, this.#prefix + key, asBuffer(content), content.length);
    } catch (cause) {
      throw this.#error(cause, `keep the object ${key}`);
    }
  }

  async getNamed(name: string): Promise<Uint8Array | undefined> {
    const key = namedKey(name);
    try {
      return await collect(await this.#client.getObject(this.#bucket, this.#prefix + key));
    } catch (cause) {
      const error = this.#error(cause, `read the object ${key}`);
      if (error.code === 'not-found') return undefined;
      throw error;
    }
  }

  async removeNamed(name: string): Promise<void> {
    const key = namedKey(name);
    try {
      await this.#client.removeObject(this.#bucket, this.#prefix + key);
    } catch (cause) {
      throw this.#error(cause, `remove the object ${key}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent.destroy();
  }

  /** True when this call made the object, false when it was there. */
  async #create(key: string, bytes: Uint8Array): Promise<boolean> {
    const condition = { 'If-None-Match': '*' };
    try {
      await this.#client.putObject(this.#bucket, this.#prefix + key, asBuffer(bytes), bytes.length, condition);
      return true;
    } catch (cause) {
      if (cause instanceof S3Error && EXISTS.has(cause.code ?? '')) return false;
      throw this.#error(cause, `keep the blob ${key}`);
    }
  }

  async #probe(): Promise<void> {
    const key = `probe/${randomUUID()}`;
    const first = await this.#create(key, Buffer.from('first'));
    const second = await this.#create(key, Buffer.from('second'));
    await this.#client.removeObject(this.#bucket, this.#prefix + key);
    if (!first || second) {
      throw new BlobError(
        'unsupported',
        `${this.location} ignores 'If-None-Match: *': it let a second PUT of one key through, so blobs could be overwritten; use a server that honours it (AWS S3, MinIO, versitygw)`,
      );
    }
  }

  #error(cause: unknown, doing: string): BlobError {
    if (cause instanceof BlobError) return cause;
    const name = cause instanceof S3Error ? (cause.code ?? '') : '';
    const code = CODES[name] ?? 'unavailable';
    const reason = cause instanceof Error ? cause.message || name : String(cause);
    const advice = code === 'denied' ? '; check the bucket, the credentials and their permissions' : '';
    return new BlobError(code, `cannot ${doing} in ${this.location}: ${name} ${reason}${advice}`, cause);
  }
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Requests that are given up when the server falls silent; the SDK itself waits for ever. */
function impatient(transport: typeof http | typeof https): Pick<typeof http, 'request'> {
  const request = (options: http.RequestOptions, onResponse: (response: http.IncomingMessage) => void) => {
    const sent = transport.request({ ...options, timeout: SILENCE_MS }, onResponse);
    sent.on('timeout', () => sent.destroy(new Error(`no answer for ${SILENCE_MS} ms`)));
    return sent;
  };
  return { request: request as typeof http.request };
}
