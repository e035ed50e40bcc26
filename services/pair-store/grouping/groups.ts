import type { Split } from '@understudy/contract';
import { MAX_PROMPTS_PER_READ } from '../limits.ts';
import type { Sql } from '../store/database.ts';
import { GroupIndex, MAX_INDEXED_PROMPTS } from './group-index.ts';

interface StoredPrompt {
  prompt_id: string;
  group_id: string;
  split: Split;
  text: string;
  seq: number;
}

/** The group indexes of all tasks in use; least recently used ones are dropped when there are too many prompts. */
export class Groups {
  readonly #indexes = new Map<string, GroupIndex>();
  /** The last work under way for each task. */
  readonly #last = new Map<string, Promise<unknown>>();

  /**
   * Runs work on a task's index after all earlier work on it. When it fails the index is forgotten, before any other work
   * sees it: it may hold prompts that were not stored after all.
   */
  oneAtATime<T>(task: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(task) ?? Promise.resolve();
    const mine = before.then(work).catch((cause) => {
      this.#indexes.delete(task);
      throw cause;
    });
    const settled = mine.catch(() => {});
    this.#last.set(task, settled);
    return mine;
  }

  /** The index of a task, with everything that any instance has stored. Call it under the task's lock. */
  async upToDate(sql: Sql, task: string): Promise<GroupIndex> {
    const index = this.#indexes.get(task) ?? new GroupIndex(task);
    this.#indexes.delete(task);
    this.#indexes.set(task, index);
    this.#dropOldest();
    for (;;) {
      const rows = await sql.query<StoredPrompt>(
        `select encode(p.prompt_id, 'hex') as prompt_id, encode(p.group_id, 'hex') as group_id, p.split, p.seq, a.text
         from prompts p join pairs a on a.pair_id = p.first_pair
         where p.task = $1 and p.seq > $2 order by p.seq limit ${MAX_PROMPTS_PER_READ}`,
        [task, index.lastSeq],
      );
      for (const row of rows) {
        index.restore(row.prompt_id, row.text, { groupId: row.group_id, split: row.split });
        index.lastSeq = row.seq;
      }
      if (rows.length < MAX_PROMPTS_PER_READ) return index;
    }
  }

  /** Forgets the index of a task: the next work on it begins with what is stored. Call it within `oneAtATime`. */
  drop(task: string): void {
    this.#indexes.delete(task);
  }

  #dropOldest(): void {
    let prompts = [...this.#indexes.values()].reduce((sum, { size }) => sum + size, 0);
    for (const [task, { size }] of this.#indexes) {
      if (prompts <= MAX_INDEXED_PROMPTS || this.#indexes.size === 1) return;
      this.#indexes.delete(task);
      prompts -= size;
    }
  }
}
