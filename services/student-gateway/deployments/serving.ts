import type { ChatCall, CompiledTask } from '@understudy/task';
import type { Confidences } from '../auditing/confidences.ts';
import type { StudentSession } from '../students/session.ts';
import { CallIndex, type MatchedCall } from './call-index.ts';
import type { CacheEntry } from './disk-cache.ts';

/** A task as it is served at one moment; never changed, only replaced as a whole. */
export interface ServedTask extends CacheEntry {
  readonly task: CompiledTask;
  /** Absent where the teacher answers everything. */
  readonly student: StudentSession | undefined;
  readonly confidences: Confidences;
  /** On its way to take this one's place; absent where none is, or where it does not load. */
  readonly challenger: ServedChallenger | undefined;
}

/** A challenger is served like any other, under its own digests. */
export interface ServedChallenger {
  readonly served: ServedTask;
  /** Share of the requests that it answers; 0 in shadow. */
  readonly share: number;
}

/** All students at work for a task. */
export const sessionsOf = (served: ServedTask | undefined): StudentSession[] =>
  [served?.student, served?.challenger?.served.student].filter((session) => session !== undefined);

/**
 * What is served, by task. A request takes what it finds here and puts its text into that student's queue in the same
 * turn of the event loop; so a student that was replaced has all the requests it will ever get, and can finish them.
 */
export class Serving {
  readonly #tasks = new Map<string, ServedTask>();
  #calls = new CallIndex([]);

  get(task: string): ServedTask | undefined {
    return this.#tasks.get(task);
  }

  all(): ServedTask[] {
    return [...this.#tasks.values()];
  }

  get isEmpty(): boolean {
    return this.#tasks.size === 0;
  }

  /** The task that a call for another model belongs to by its prompt, schema and frame. */
  match(call: ChatCall): MatchedCall | undefined {
    return this.#calls.match(call);
  }

  /** Serves this from now on. @returns what was served before, still answering what it had begun */
  swap(next: ServedTask): ServedTask | undefined {
    const name = next.task.task.name;
    const before = this.#tasks.get(name);
    this.#tasks.set(name, next);
    this.#calls = new CallIndex(this.#tasks.values());
    return before;
  }

  remove(task: string): ServedTask | undefined {
    const before = this.#tasks.get(task);
    this.#tasks.delete(task);
    this.#calls = new CallIndex(this.#tasks.values());
    return before;
  }
}
