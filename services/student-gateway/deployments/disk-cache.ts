import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fromJson, type JsonValue, toJson } from '@bufbuild/protobuf';
import { type Deployment, DeploymentSchema } from '@understudy/contract/deployer';
import { digestOf } from '@understudy/service/blobs/blob-store';

/** A deployment with the files it names, by digest. */
export interface CacheEntry {
  readonly deployment: Deployment;
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** By name; each proves itself. */
  readonly signatures: ReadonlyMap<string, Uint8Array>;
}

/**
 * What this gateway serves, on its own disk, so that it can serve again when neither bus nor blob store is there: a
 * list of deployments and, by digest, the files that they name, with their signatures. Files are written aside, flushed and renamed.
 */
export class DiskCache {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(folder: string): Promise<DiskCache> {
    await mkdir(folder, { recursive: true });
    return new DiskCache(folder);
  }

  /** The deployments last kept. @throws Error when the list is there and cannot be read */
  async deployments(): Promise<Deployment[]> {
    const text = await readFile(this.#listPath, 'utf8').catch(ifMissing(undefined));
    if (text === undefined) return [];
    const list = JSON.parse(text) as JsonValue[];
    return list.map((json) => fromJson(DeploymentSchema, json, { ignoreUnknownFields: true }));
  }

  /** The file with this digest; undefined where it is not there, or not what its name says. */
  async file(digest: string): Promise<Uint8Array | undefined> {
    const bytes = await readFile(this.#filePath(digest)).catch(ifMissing(undefined));
    return bytes && digestOf(bytes) === digest ? bytes : undefined;
  }

  /** The signature of this name, unverified. */
  async signature(name: string): Promise<Uint8Array | undefined> {
    return readFile(this.#signaturePath(name)).catch(ifMissing(undefined));
  }

  /** Remembers exactly these, files first, and forgets the files of all others. One call at a time. */
  async keep(entries: readonly CacheEntry[]): Promise<void> {
    const files = new Map(entries.flatMap(({ files }) => [...files]));
    for (const [digest, bytes] of files) {
      if (!(await this.file(digest))) await this.#write(this.#filePath(digest), bytes);
    }
    const signatures = new Map(entries.flatMap(({ signatures }) => [...signatures]));
    for (const [name, bytes] of signatures) {
      const before = await this.signature(name);
      if (!before || Buffer.compare(before, bytes) !== 0) await this.#write(this.#signaturePath(name), bytes);
    }
    const kept = new Set([
      ...files.keys(),
      ...[...signatures.keys()].map((name) => basename(this.#signaturePath(name))),
    ]);
    const json = entries.map(({ deployment }) => toJson(DeploymentSchema, deployment));
    await this.#write(this.#listPath, Buffer.from(JSON.stringify(json)));
    for (const name of await readdir(this.#folder)) {
      if (/^[0-9a-f]{64}(\.dsse\.json)?$/.test(name) && !kept.has(name))
        await rm(join(this.#folder, name), { force: true });
    }
  }

  get #listPath(): string {
    return join(this.#folder, 'deployments.json');
  }

  #filePath(digest: string): string {
    return join(this.#folder, digest);
  }

  #signaturePath(name: string): string {
    return join(this.#folder, `${digestOf(Buffer.from(name))}.dsse.json`);
  }

  async #write(path: string, bytes: Uint8Array): Promise<void> {
    const partial = join(this.#folder, `.partial-${randomUUID()}`);
    try {
      const handle = await open(partial, 'wx');
      try {
        await handle.writeFile(bytes);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(partial, path);
    } catch (error) {
      await rm(partial, { force: true });
      throw error;
    }
  }
}

const ifMissing =
  <T>(value: T) =>
  (error: NodeJS.ErrnoException): T => {
    if (error.code === 'ENOENT') return value;
    throw error;
  };
