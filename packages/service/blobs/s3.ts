/** Blobs in a bucket of any server that speaks S3 and honours `If-None-Match: *` on PutObject. */
import { randomUUID } from 'node:crypto';
import { type Client, S3Error } from 'minio';
import {
  type BlobContent,
  BlobError,
  type BlobStore,
  blobKey,
  boundedChunks,
  checkedKind,
  checkSize,
  collect,
  digestOf,
  isDigest,
  namedKey,
  verified,
} from './blob-store.ts';
import { type S3Credentials, type S3Location, s3Client, s3Failure } from './s3-client.ts';

/** What the server answers when the key exists already, and when two writers of one key meet. */
const EXISTS = new Set(['PreconditionFailed', 'ConditionalRequestConflict']);

export class S3BlobStore implements BlobStore {
  readonly location: string;
  readonly #client: Client;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #close: () => void;

  private constructor(where: S3Location, credentials: S3Credentials) {
    this.location = `s3://${[where.bucket, where.prefix].filter(Boolean).join('/')} at ${where.endpoint.origin}`;
    this.#bucket = where.bucket;
    this.#prefix = where.prefix === '' ? '' : `${where.prefix}/`;
    const { client, close } = s3Client(where, credentials);
    this.#client = client;
    this.#close = close;
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

  /** A bucket to be read only: nothing in it is touched. */
  static openToRead(where: S3Location, credentials: S3Credentials): S3BlobStore {
    return new S3BlobStore(where, credentials);
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

  async remove(kind: string, digest: string): Promise<void> {
    const key = blobKey(kind, digest);
    try {
      await this.#client.removeObject(this.#bucket, this.#prefix + key);
    } catch (cause) {
      throw this.#error(cause, `remove the blob ${key}`);
    }
  }

  /** A PUT that broke off leaves no object. */
  async removePartials(): Promise<number> {
    return 0;
  }

  async *list(kind: string, prefix: string): AsyncGenerator<string> {
    const folder = `${this.#prefix}${checkedKind(kind)}/`;
    try {
      for await (const { name = '' } of this.#client.listObjectsV2(this.#bucket, folder + prefix, true)) {
        const digest = name.slice(folder.length);
        if (isDigest(digest)) yield digest;
      }
    } catch (cause) {
      throw this.#error(cause, `list the blobs of ${kind}`);
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
    this.#close();
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
    return s3Failure(cause, `${doing} in ${this.location}`);
  }
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
