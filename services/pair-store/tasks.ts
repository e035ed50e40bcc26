import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { messageOf, TerminalError } from '@understudy/service/errors';
import { type CompiledTask, compileTask, type IdKey, parseTask, type Task } from '@understudy/task';
import { MAX_CACHED_TASKS } from './limits.ts';

/** What this service needs of one version of a task. */
export interface KnownTask {
  readonly task: Task;
  readonly compiled: CompiledTask;
  /** What the teacher is shown of each example. */
  readonly exampleTexts: readonly string[];
}

/** Versions of tasks by digest, from the blob store, where whoever applies a task puts it. */
export class Tasks {
  readonly #blobs: BlobStore;
  readonly #idKey: IdKey;
  readonly #known = new Map<string, Promise<KnownTask>>();

  constructor(blobs: BlobStore, idKey: IdKey) {
    this.#blobs = blobs;
    this.#idKey = idKey;
  }

  /** @throws TerminalError when the digest is another task's or no task; BlobError when it is not to be had */
  async get(name: string, digest: string): Promise<KnownTask> {
    const loading = this.#known.get(digest) ?? this.#load(digest);
    this.#known.delete(digest);
    this.#known.set(digest, loading);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MAX_CACHED_TASKS) break;
      this.#known.delete(oldest);
    }
    const known = await loading;
    if (known.task.name !== name) {
      throw new TerminalError(`task_digest ${digest} is a version of ${known.task.name}, not of ${name}`);
    }
    return known;
  }

  #load(digest: string): Promise<KnownTask> {
    const loading = this.#read(digest);
    loading.catch(() => this.#known.delete(digest));
    return loading;
  }

  async #read(digest: string): Promise<KnownTask> {
    const json = new TextDecoder().decode(await this.#blobs.get('tasks', digest));
    const task = parsedTask(json, digest);
    const compiled = compileTask(task, this.#idKey);
    return { task, compiled, exampleTexts: task.examples.map(({ input }) => compiled.renderPrompt(input).text) };
  }
}

function parsedTask(json: string, digest: string): Task {
  try {
    return parseTask(json, `task ${digest}`);
  } catch (cause) {
    throw new TerminalError(messageOf(cause), { cause });
  }
}
