/** What is remembered of a task's batch, in one SQLite file: a kill -9 at any point loses nothing that was written. */
import { randomUUID } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';

/** The batch cannot go on; the message says what to do. */
export class BatchError extends Error {
  override readonly name = 'BatchError';
}

/**
 * How far a part is. `uploading` and `creating` are written before the request is sent: whoever finds them looks first whether
 * the provider has got it.
 */
export type PartState = 'planned' | 'uploading' | 'uploaded' | 'creating' | 'created' | 'done';

/** One file of requests, and its batch. */
export interface Part {
  number: number;
  /** Names the file and the batch at the provider. */
  key: string;
  prompts: number;
  state: PartState;
  fileId: string | null;
  batchId: string | null;
  /** As the provider calls it, at the end. */
  status: string | null;
}

export interface BookPrompt {
  promptId: string;
  inputJson: string;
  source: number;
  weight: number;
  referenceJson: string | null;
  origin: string;
}

/** What became of a prompt: `answered`, or why it was not. */
export type Outcome = readonly [promptId: string, outcome: string];

export interface Totals {
  inputTokens: number;
  outputTokens: number;
  spentUsd: number;
  /** Lines that belong to no prompt that still waited for one, by reason. */
  strays: Readonly<Record<string, number>>;
}

const schema = `
  CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS parts (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL, prompts INTEGER NOT NULL, state TEXT NOT NULL,
    fileId TEXT, batchId TEXT, status TEXT, totals TEXT
  ) STRICT;
  CREATE TABLE IF NOT EXISTS prompts (
    promptId TEXT PRIMARY KEY, part INTEGER NOT NULL, inputJson TEXT NOT NULL, source INTEGER NOT NULL,
    weight INTEGER NOT NULL, referenceJson TEXT, outcome TEXT,
    origin TEXT NOT NULL DEFAULT ''
  ) STRICT;
  CREATE INDEX IF NOT EXISTS promptsByPart ON prompts (part);`;

export class Book implements Disposable {
  readonly #db: DatabaseSync;

  /**
   * Opens or begins a book and keeps everybody else out until this process ends, however it ends: the lock is the kernel's.
   * @param path `:memory:` for one that nobody keeps
   * @throws BatchError when another process has it open
   */
  constructor(path: string) {
    this.#db = new DatabaseSync(path);
    try {
      this.#db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = EXTRA; BEGIN EXCLUSIVE');
      this.#db.exec(schema);
      this.#addOrigin();
      this.#db.exec('COMMIT');
    } catch (cause) {
      this.#db.close();
      if (/locked/.test(String(cause))) {
        throw new BatchError(`another process works on this batch (${path}): let it finish, or end it`, { cause });
      }
      throw cause;
    }
  }

  /** Books that were begun before prompts had an origin go on without. */
  #addOrigin(): void {
    const columns = this.#db.prepare("SELECT name FROM pragma_table_info('prompts')").all();
    if (columns.some(({ name }) => name === 'origin')) return;
    this.#db.exec("ALTER TABLE prompts ADD COLUMN origin TEXT NOT NULL DEFAULT ''");
  }

  /** All that `write` writes, or nothing. */
  async once<T>(write: () => Promise<T> | T): Promise<T> {
    this.#db.exec('BEGIN');
    try {
      const result = await write();
      this.#db.exec('COMMIT');
      return result;
    } catch (error) {
      this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  get(name: string): number | undefined {
    const row = this.#db.prepare('SELECT value FROM meta WHERE name = ?').get(name);
    return row && Number(row.value);
  }

  set(name: string, value: number): void {
    this.#db.prepare('INSERT OR REPLACE INTO meta VALUES (?, ?)').run(name, String(value));
  }

  addPart(number: number, prompts: number): void {
    this.#db
      .prepare("INSERT INTO parts (number, key, prompts, state) VALUES (?, ?, ?, 'planned')")
      .run(number, randomUUID(), prompts);
  }

  addPrompt(part: number, { promptId, inputJson, source, weight, referenceJson, origin }: BookPrompt): void {
    this.#db
      .prepare('INSERT INTO prompts VALUES (?, ?, ?, ?, ?, ?, NULL, ?)')
      .run(promptId, part, inputJson, source, weight, referenceJson, origin);
  }

  parts(): Part[] {
    const rows = this.#db.prepare('SELECT * FROM parts ORDER BY number').all();
    return rows.map(({ totals: _, ...part }) => ({ ...part }) as unknown as Part);
  }

  /** In the order in which they were drawn. */
  prompts(part: number): BookPrompt[] {
    const rows = this.#db.prepare('SELECT * FROM prompts WHERE part = ? ORDER BY rowid').all(part);
    return rows.map((row) => ({ ...row }) as unknown as BookPrompt);
  }

  update(number: number, change: Partial<Pick<Part, 'key' | 'state' | 'fileId' | 'batchId' | 'status'>>): void {
    const names = Object.keys(change);
    this.#db
      .prepare(`UPDATE parts SET ${names.map((name) => `${name} = ?`).join(', ')} WHERE number = ?`)
      .run(...Object.values(change), number);
  }

  /** A part that the provider refused as a whole: it begins anew under another name. */
  replan(number: number): void {
    this.update(number, { key: randomUUID(), state: 'planned', fileId: null, batchId: null });
  }

  finish(number: number, outcomes: Iterable<Outcome>, totals: Totals): void {
    const set = this.#db.prepare('UPDATE prompts SET outcome = ? WHERE promptId = ?');
    for (const [promptId, outcome] of outcomes) set.run(outcome, promptId);
    this.#db
      .prepare("UPDATE parts SET state = 'done', totals = ? WHERE number = ?")
      .run(JSON.stringify(totals), number);
  }

  /** Takes prompts out of the file, bytes and all. @returns how many there were, and the provider's files that hold some of them */
  erase(promptIds: readonly string[]): { prompts: number; fileIds: string[] } {
    const ids = JSON.stringify(promptIds);
    const meant = 'promptId IN (SELECT value FROM json_each(?))';
    const files = this.#db
      .prepare(`SELECT DISTINCT fileId FROM parts JOIN prompts ON part = number WHERE fileId IS NOT NULL AND ${meant}`)
      .all(ids);
    this.#db.exec('PRAGMA secure_delete = ON');
    const { changes } = this.#db.prepare(`DELETE FROM prompts WHERE ${meant}`).run(ids);
    this.#db.exec('VACUUM');
    return { prompts: Number(changes), fileIds: files.map(({ fileId }) => String(fileId)) };
  }

  /** Prompts by what became of them; those that nothing has come of yet are in none. */
  outcomes(): Record<string, number> {
    const rows = this.#db
      .prepare('SELECT outcome, count(*) AS prompts FROM prompts WHERE outcome IS NOT NULL GROUP BY outcome')
      .all();
    return Object.fromEntries(rows.map(({ outcome, prompts }) => [String(outcome), Number(prompts)]));
  }

  totals(): Totals {
    const sum = { inputTokens: 0, outputTokens: 0, spentUsd: 0, strays: {} as Record<string, number> };
    for (const { totals } of this.#db.prepare('SELECT totals FROM parts WHERE totals IS NOT NULL').all()) {
      const one = JSON.parse(String(totals)) as Totals;
      sum.inputTokens += one.inputTokens;
      sum.outputTokens += one.outputTokens;
      sum.spentUsd += one.spentUsd;
      for (const [reason, count] of Object.entries(one.strays)) sum.strays[reason] = (sum.strays[reason] ?? 0) + count;
    }
    return sum;
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }
}
