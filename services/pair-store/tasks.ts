import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { messageOf, TerminalError } from '@understudy/service/errors';
import { compileTask, parseTask, type Task } from '@understudy/task';
import { MAX_CACHED_TASKS } from './limits.ts';

/** What this service needs of one version of a task. */
export interface KnownTask {
  readonly task: Task;
  /** What the teacher is shown of each example. */
  readonly exampleTexts: readonly string[];
}

/** Versions of tasks by digest, from the blob store, where whoever applies a task puts it. */
export class Tasks {
  readonly #blobs: BlobStore;
  readonly #known = new Map<string, Promise<KnownTask>>();

  constructor(blobs: BlobStore) {
    this.#blobs = blobs;
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
    const { renderPrompt } = compileTask(task);
    return { task, exampleTexts: task.examples.map(({ input }) => renderPrompt(input).text) };
  }
}

function parsedTask(json: string, digest: string): Task {
  try {
    return parseTask(json, `task ${digest}`);
  } catch (cause) {
    throw new TerminalError(messageOf(cause), { cause });
  }
}
