import type { KV } from '@nats-io/kv';
import { BlobError, type BlobStore } from '@understudy/service/blobs/blob-store';
import { compareAndSet, readKey } from '@understudy/service/bus/compare-and-set';
import {
  type CompiledTask,
  compileTask,
  type IdKey,
  parseTask,
  type Task,
  taskDigest,
  taskJson,
} from '@understudy/task';
import { reach } from './kv.ts';
import { MAX_COMPILED_TASKS } from './limits.ts';

/** Anything else is no key of the bucket. */
const isTaskName = (text: string): boolean => /^[a-z0-9-]{1,48}$/.test(text);

/**
 * Tasks: the newest version of each by name in KV, every version by digest in the blob store, where all services find
 * the one that an event names.
 */
export class TaskStore {
  readonly #kv: KV;
  readonly #blobs: BlobStore;
  readonly #idKey: IdKey;
  readonly #compiled = new Map<string, CompiledTask>();

  constructor(kv: KV, blobs: BlobStore, idKey: IdKey) {
    this.#kv = kv;
    this.#blobs = blobs;
    this.#idKey = idKey;
  }

  /** Keeps a task; the very same task again makes no new revision. */
  async apply(task: Task): Promise<{ digest: string; changed: boolean }> {
    const digest = taskDigest(task);
    const body = taskJson(task);
    const kept = await this.#blobs.put('tasks', new TextEncoder().encode(body));
    if (kept !== digest) throw new Error(`task ${task.name}: the blob store answered ${kept} for ${digest}`);
    const changed = await compareAndSet(this.#kv, task.name, (current) =>
      current === body ? { result: false } : { write: body, result: true },
    );
    return { digest, changed };
  }

  /** The newest version of a task, or undefined when none of that name was applied. */
  async newest(name: string): Promise<CompiledTask | undefined> {
    if (!isTaskName(name)) return undefined;
    const json = await readKey(this.#kv, name);
    return json === undefined ? undefined : this.#compile(json);
  }

  /** The version with this digest, or undefined when it was never applied. */
  async byDigest(digest: string): Promise<CompiledTask | undefined> {
    const known = this.#compiled.get(digest);
    if (known !== undefined) return known;
    try {
      return this.#compile(new TextDecoder().decode(await this.#blobs.get('tasks', digest)));
    } catch (error) {
      if (error instanceof BlobError && error.code === 'not-found') return undefined;
      throw error;
    }
  }

  async names(): Promise<string[]> {
    const names = await Array.fromAsync(await reach(this.#kv.keys()));
    return names.sort();
  }

  #compile(json: string): CompiledTask {
    const compiled = compileTask(parseTask(json), this.#idKey);
    const known = this.#compiled.get(compiled.digest);
    if (known !== undefined) return known;
    const oldest = this.#compiled.keys().next();
    if (this.#compiled.size >= MAX_COMPILED_TASKS && !oldest.done) this.#compiled.delete(oldest.value);
    this.#compiled.set(compiled.digest, compiled);
    return compiled;
  }
}
