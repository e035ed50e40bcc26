/**
 * Where large, immutable things live: one interface over a folder and over S3.
 *
 * A *blob* is bytes under `<kind>/<digest>`; its key is its SHA-256, so it can be written again by anyone at any time
 * and is verified whenever it is read. A *named object* is the one exception that can be overwritten: something small
 * that only its writer reads back, such as a checkpoint, or that proves itself, such as a signature. Facts on the bus
 * carry digests, never named objects.
 */
import { createHash } from 'node:crypto';

/** The largest blob or named object. The S3 store holds one blob in memory, because only a single PUT is create-only. */
export const MAX_BLOB_BYTES = 512 * 1024 * 1024;

/** Kinds are one folder or key segment: a plural noun such as `snapshots`. */
const KIND = /^[a-z][a-z0-9-]{0,31}$/;
const DIGEST = /^[0-9a-f]{64}$/;
/** A segment starts with a letter or digit, so that neither `..` nor a hidden file can be named. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}(\/[A-Za-z0-9][A-Za-z0-9._-]{0,127}){0,7}$/;
/** The kind under which named objects are kept. */
export const NAMED = 'named';

export type BlobErrorCode =
  | 'not-found' // no object has this key
  | 'corrupt' // what is stored is not what the digest says
  | 'too-large' // over MAX_BLOB_BYTES
  | 'bad-key' // a kind, digest or name that is not well formed
  | 'no-space' // the disk or quota is full
  | 'denied' // permissions or credentials
  | 'unsupported' // the server cannot do what is relied on
  | 'unavailable'; // anything else: unreachable, timed out, I/O error

const RETRYABLE: ReadonlySet<BlobErrorCode> = new Set(['no-space', 'unavailable']);

/** The one error of a blob store. `retryable` says whether the same call may succeed later, unchanged. */
export class BlobError extends Error {
  override readonly name = 'BlobError';
  readonly code: BlobErrorCode;
  readonly retryable: boolean;

  constructor(code: BlobErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.retryable = RETRYABLE.has(code);
  }
}

/** Bytes at once, or a stream of them. A stream is read once and needs no known length. */
export type BlobContent = Uint8Array | AsyncIterable<Uint8Array>;

export interface BlobStore extends AsyncDisposable {
  /** Where the store is, for logs: a URL without credentials. */
  readonly location: string;
  /**
   * Keeps `content` under its SHA-256 and returns the digest (64 hex digits). Writing what is there already changes
   * nothing. When it resolves the blob is durable; when it rejects, or the process dies, no part of it can be read.
   */
  put(kind: string, content: BlobContent): Promise<string>;
  /** The whole blob, verified. Rejects with `not-found` or `corrupt`. */
  get(kind: string, digest: string): Promise<Uint8Array>;
  /** The blob as a stream; throws `corrupt` after the last chunk when the digest does not match what was read. */
  read(kind: string, digest: string): AsyncIterable<Uint8Array>;
  /** True when a blob is stored under this key. Does not verify it. */
  has(kind: string, digest: string): Promise<boolean>;
  /** Takes the blob away for good, for erasure alone: whoever has its digest finds nothing. Nothing happens where there is none. */
  remove(kind: string, digest: string): Promise<void>;
  /**
   * Takes away what writers of a kind left half-written when they died, for erasure alone. Call it while nobody writes a blob of this kind.
   * @returns how many there were; none where the store keeps nothing of a write that broke off
   */
  removePartials(kind: string): Promise<number>;
  /** Digests of the blobs of a kind that begin with `prefix`, in no order; none where the kind has no blob. Does not verify them. */
  list(kind: string, prefix: string): AsyncIterable<string>;
  /**
   * Puts `content` in the place of whatever the name held, at once: a reader sees the old or the new bytes, never a mix.
   * A name is one to eight segments of letters, digits, `.`, `_` and `-`, and no name is the folder of another.
   */
  putNamed(name: string, content: Uint8Array): Promise<void>;
  /** What the name holds, or undefined. */
  getNamed(name: string): Promise<Uint8Array | undefined>;
  /** Forgets the name; nothing happens when it holds nothing. */
  removeNamed(name: string): Promise<void>;
}

/** SHA-256 of `bytes`, 64 lower-case hex digits: the key of a blob. */
export function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export const isDigest = (text: string): boolean => DIGEST.test(text);

/** `<kind>/<digest>`. Throws `bad-key` for anything that is not well formed, so that no key leaves its folder. */
export function blobKey(kind: string, digest: string): string {
  if (!DIGEST.test(digest)) {
    throw new BlobError('bad-key', `expected a SHA-256 of 64 hex digits as blob digest, got ${JSON.stringify(digest)}`);
  }
  return `${checkedKind(kind)}/${digest}`;
}

/** Returns `kind`, or throws `bad-key`. */
export function checkedKind(kind: string): string {
  if (!KIND.test(kind) || kind === NAMED) {
    throw new BlobError(
      'bad-key',
      `expected a blob kind of 1 to 32 letters a-z, digits and '-' other than '${NAMED}', got ${JSON.stringify(kind)}`,
    );
  }
  return kind;
}

/** The key of a named object. Throws `bad-key` for a malformed name. */
export function namedKey(name: string): string {
  if (!NAME.test(name)) {
    throw new BlobError(
      'bad-key',
      `expected a name of 1 to 8 segments of letters, digits, '.', '_' and '-', each starting with a letter or digit, got ${JSON.stringify(name)}`,
    );
  }
  return `${NAMED}/${name}`;
}

/** Throws `too-large` when `bytes` is over the limit. */
export function checkSize(bytes: number, what: string): void {
  if (bytes > MAX_BLOB_BYTES) {
    throw new BlobError(
      'too-large',
      `${what} is over the limit of ${MAX_BLOB_BYTES} bytes for one blob; split it into several blobs`,
    );
  }
}

/** `content` as a stream that fails once it is over the limit. */
export async function* boundedChunks(content: BlobContent, what: string): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of content instanceof Uint8Array ? [content] : content) {
    bytes += chunk.length;
    checkSize(bytes, what);
    yield chunk;
  }
}

/** Passes `chunks` on and throws `corrupt` at their end if their SHA-256 is not `digest`. */
export async function* verified(
  chunks: AsyncIterable<Uint8Array>,
  digest: string,
  where: string,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  for await (const chunk of chunks) {
    hash.update(chunk);
    yield chunk;
  }
  const found = hash.digest('hex');
  if (found !== digest) {
    throw new BlobError(
      'corrupt',
      `the blob ${where} is damaged: its content has SHA-256 ${found}; delete it, and whoever made it can put it again`,
    );
  }
}

/** The whole blob, verified; undefined where there is none, because somebody else may be removing blobs just now. */
export async function getIfThere(blobs: BlobStore, kind: string, digest: string): Promise<Uint8Array | undefined> {
  try {
    return await blobs.get(kind, digest);
  } catch (cause) {
    if (cause instanceof BlobError && cause.code === 'not-found') return undefined;
    throw cause;
  }
}

/** All of a stream as one array. */
export async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  return new Uint8Array(Buffer.concat(await Array.fromAsync(chunks)));
}
