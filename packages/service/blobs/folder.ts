/** Blobs in a folder: written to a temporary file, flushed, renamed. Any number of processes may share the folder. */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
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
  isDigest,
  NAMED,
  namedKey,
  verified,
} from './blob-store.ts';

/** Holds files that are being written; no kind can have this name. */
const PARTIAL = '.partial';
/** A partial file untouched for this long was left by a process that died: no write of one chunk takes so long. */
const STALE_PARTIAL_MS = 60 * 60 * 1000;

const CODES: Readonly<Record<string, BlobErrorCode>> = {
  ENOENT: 'not-found',
  ENOSPC: 'no-space',
  EDQUOT: 'no-space',
  EFBIG: 'no-space',
  EACCES: 'denied',
  EPERM: 'denied',
  EROFS: 'denied',
};

const ADVICE: Readonly<Partial<Record<BlobErrorCode, string>>> = {
  'no-space': 'free space there or move the blob folder',
  denied: 'let this user write there or choose another blob folder',
};

function folderError(cause: unknown, doing: string): BlobError {
  if (cause instanceof BlobError) return cause;
  const errno = (cause as NodeJS.ErrnoException).code ?? '';
  const code = CODES[errno] ?? 'unavailable';
  const advice = ADVICE[code];
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new BlobError(code, `cannot ${doing}: ${reason}${advice ? `; ${advice}` : ''}`, cause);
}

export class FolderBlobStore implements BlobStore {
  readonly location: string;
  readonly #root: string;
  /** By the monotonic clock: one that jumps must not have living writers taken for dead more often. */
  #sweptAtMs = Number.NEGATIVE_INFINITY;

  private constructor(root: string) {
    this.#root = root;
    this.location = pathToFileURL(root).href;
  }

  /** Makes the folder if need be, proves that it can be written to, and removes what dead processes left half-written. */
  static async open(root: string): Promise<FolderBlobStore> {
    const store = new FolderBlobStore(path.resolve(root));
    try {
      await mkdir(path.join(store.#root, PARTIAL), { recursive: true });
      await rm(await store.#writePartial('probe', [new Uint8Array(1)], () => {}));
      await store.#sweep();
    } catch (cause) {
      throw folderError(cause, `use ${store.#root} as blob folder`);
    }
    return store;
  }

  /** A folder that is there, to be read only: nothing in it is touched. */
  static async openToRead(root: string): Promise<FolderBlobStore> {
    const store = new FolderBlobStore(path.resolve(root));
    try {
      await readdir(store.#root);
    } catch (cause) {
      throw folderError(cause, `read ${store.#root} as blob folder`);
    }
    return store;
  }

  async put(kind: string, content: BlobContent): Promise<string> {
    checkedKind(kind);
    const hash = createHash('sha256');
    const chunks = boundedChunks(content, `a blob for ${kind}`);
    let partial: string | undefined;
    try {
      await this.#sweep();
      partial = await this.#writePartial(kind, chunks, (chunk) => hash.update(chunk));
      const digest = hash.digest('hex');
      if (await this.#isIntact(kind, digest)) await rm(partial);
      else await this.#publish(partial, blobKey(kind, digest));
      return digest;
    } catch (cause) {
      if (partial) await rm(partial, { force: true });
      throw folderError(cause, `keep a blob in ${path.join(this.#root, kind)}`);
    }
  }

  async get(kind: string, digest: string): Promise<Uint8Array> {
    return collect(this.read(kind, digest));
  }

  async *read(kind: string, digest: string): AsyncGenerator<Uint8Array> {
    const file = path.join(this.#root, blobKey(kind, digest));
    try {
      yield* verified(createReadStream(file), digest, file);
    } catch (cause) {
      throw folderError(cause, `read the blob ${file}`);
    }
  }

  async has(kind: string, digest: string): Promise<boolean> {
    const file = path.join(this.#root, blobKey(kind, digest));
    try {
      return (await stat(file)).isFile();
    } catch (cause) {
      const error = folderError(cause, `look for the blob ${file}`);
      if (error.code === 'not-found') return false;
      throw error;
    }
  }

  async remove(kind: string, digest: string): Promise<void> {
    const file = path.join(this.#root, blobKey(kind, digest));
    try {
      await rm(file, { force: true });
      await syncFolder(path.dirname(file));
    } catch (cause) {
      const error = folderError(cause, `remove the blob ${file}`);
      if (error.code !== 'not-found') throw error;
    }
  }

  async removePartials(kind: string): Promise<number> {
    const folder = path.join(this.#root, PARTIAL);
    const ofKind = `${checkedKind(kind)}.`;
    try {
      const names = (await readdir(folder)).filter((name) => name.startsWith(ofKind));
      for (const name of names) await rm(path.join(folder, name), { force: true });
      return names.length;
    } catch (cause) {
      throw folderError(cause, `remove what is half-written in ${folder}`);
    }
  }

  async *list(kind: string, prefix: string): AsyncGenerator<string> {
    const folder = path.join(this.#root, checkedKind(kind));
    let names: string[] = [];
    try {
      names = await readdir(folder);
    } catch (cause) {
      const error = folderError(cause, `list the blobs in ${folder}`);
      if (error.code !== 'not-found') throw error;
    }
    for (const name of names) if (isDigest(name) && name.startsWith(prefix)) yield name;
  }

  async putNamed(name: string, content: Uint8Array): Promise<void> {
    const key = namedKey(name);
    checkSize(content.length, `the object ${name}`);
    let partial: string | undefined;
    try {
      partial = await this.#writePartial(NAMED, [content], () => {});
      await this.#publish(partial, key);
    } catch (cause) {
      if (partial) await rm(partial, { force: true });
      throw folderError(cause, `keep the object ${path.join(this.#root, key)}`);
    }
  }

  async getNamed(name: string): Promise<Uint8Array | undefined> {
    const file = path.join(this.#root, namedKey(name));
    try {
      return new Uint8Array(await readFile(file));
    } catch (cause) {
      const error = folderError(cause, `read the object ${file}`);
      if (error.code === 'not-found') return undefined;
      throw error;
    }
  }

  async removeNamed(name: string): Promise<void> {
    const file = path.join(this.#root, namedKey(name));
    try {
      await rm(file, { force: true });
    } catch (cause) {
      throw folderError(cause, `remove the object ${file}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  /** Writes and flushes a file that nobody reads; returns its path. Leaves nothing behind when it fails. */
  async #writePartial(
    kind: string,
    chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    onChunk: (chunk: Uint8Array) => void,
  ): Promise<string> {
    const file = path.join(this.#root, PARTIAL, `${kind}.${randomUUID()}`);
    const handle = await open(file, 'wx');
    try {
      for await (const chunk of chunks) {
        onChunk(chunk);
        await handle.writeFile(chunk);
      }
      await handle.sync();
    } catch (cause) {
      await handle.close();
      await rm(file, { force: true });
      throw cause;
    }
    await handle.close();
    return file;
  }

  /** Gives a flushed file its name. The rename is durable once its folder is flushed too. */
  async #publish(partial: string, key: string): Promise<void> {
    const target = path.join(this.#root, key);
    const folder = path.dirname(target);
    await mkdir(folder, { recursive: true });
    await rename(partial, target).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'ENOENT') throw cause;
      throw new BlobError(
        'unavailable',
        `${partial} was taken for a dead writer's (a clock that jumped?): write it again`,
        cause,
      );
    });
    await syncFolder(folder);
  }

  /** A blob that is there is left alone, unless the disk damaged it: then putting it again repairs it. */
  async #isIntact(kind: string, digest: string): Promise<boolean> {
    try {
      for await (const _chunk of this.read(kind, digest));
      return true;
    } catch (cause) {
      if (cause instanceof BlobError && (cause.code === 'not-found' || cause.code === 'corrupt')) return false;
      throw cause;
    }
  }

  /** Removes what dead processes left half-written, now and then. */
  async #sweep(): Promise<void> {
    if (performance.now() - this.#sweptAtMs < STALE_PARTIAL_MS) return;
    this.#sweptAtMs = performance.now();
    const folder = path.join(this.#root, PARTIAL);
    for (const name of await readdir(folder)) {
      const file = path.join(folder, name);
      const found = await stat(file).catch(() => undefined); // another process may finish its file right now
      if (found && Date.now() - found.mtimeMs > STALE_PARTIAL_MS) await rm(file, { force: true });
    }
  }
}

/** What was renamed into a folder, or removed from it, is durably so afterwards. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
