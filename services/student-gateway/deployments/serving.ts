import type { CompiledTask } from '@understudy/task';
import type { StudentSession } from '../students/session.ts';
import type { CacheEntry } from './disk-cache.ts';

/** A task as it is served at one moment; never changed, only replaced as a whole. */
export interface ServedTask extends CacheEntry {
  readonly task: CompiledTask;
  /** The answer in canonical JSON for each label, by its index. */
  readonly answers: readonly string[];
  /** Absent where the teacher answers everything. */
  readonly student: StudentSession | undefined;
}

/**
 * What is served, by task. A request takes what it finds here and puts its text into that student's queue in the same
 * turn of the event loop; so a student that was replaced has all the requests it will ever get, and can finish them.
 */
export class Serving {
  readonly #tasks = new Map<string, ServedTask>();

  get(task: string): ServedTask | undefined {
    return this.#tasks.get(task);
  }

  all(): ServedTask[] {
    return [...this.#tasks.values()];
  }

  /** Serves this from now on. @returns what was served before, still answering what it had begun */
  swap(next: ServedTask): ServedTask | undefined {
    const name = next.task.task.name;
    const before = this.#tasks.get(name);
    this.#tasks.set(name, next);
    return before;
  }

  remove(task: string): ServedTask | undefined {
    const before = this.#tasks.get(task);
    this.#tasks.delete(task);
    return before;
  }
}
