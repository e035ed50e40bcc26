/** PostgreSQL inside this process, in a folder. One process at a time. */
import { existsSync, mkdirSync } from 'node:fs';
import { chmod, rename, rm, statfs } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { PGlite, type PGliteInterface, type Transaction } from '@electric-sql/pglite';
import { messageOf, RetryableError, StartupError } from '@understudy/service/errors';
import { type Database, INT8_OID, parseInt8, type Row, SCHEMA, type Sql } from './database.ts';

/** Below this nothing is written: room for the log between two checkpoints and for tables to grow meanwhile. */
const MIN_FREE_BYTES = 128 * 1024 * 1024;
/** A full disk needs a person; the message comes again often enough to notice, and not so often as to be given up at once. */
const NO_SPACE_RETRY_MS = 30_000;
/** Log after which tables are flushed: some 35,000 pairs, replayed in a second or two after a kill. */
const MAX_LOG_BYTES = 64 * 1024 * 1024;
/** How often the log is measured; a transaction writes a megabyte or two at most. */
const MAINTENANCE_EVERY_TRANSACTIONS = 16;

const PARSERS = { [INT8_OID]: parseInt8 };

/**
 * Opens the database in `folder`, making it if need be.
 * @throws StartupError when another process has it open, or it cannot be read or written
 */
export async function openPglite(folder: string): Promise<Database> {
  const lock = lockFolder(folder);
  try {
    if (!existsSync(folder)) await initialise(folder);
    const db = await PGlite.create(folder, { parsers: PARSERS });
    // Segments of the log that are reused would keep what was deleted long ago.
    await db.exec(`set search_path to ${SCHEMA}; set wal_recycle = off`);
    return new PgliteDatabase(db, lock, folder);
  } catch (cause) {
    lock.close();
    throw new StartupError(`cannot open the database in ${folder}: ${messageOf(cause)}`, { cause });
  }
}

/** Takes seconds, and a folder that was left in the middle of it would never open: so it gets its name when it is whole. */
async function initialise(folder: string): Promise<void> {
  const making = `${folder}.new`;
  await rm(making, { recursive: true, force: true });
  const db = await PGlite.create(making);
  await db.close();
  // PGlite makes its files readable for everyone.
  await chmod(making, 0o700);
  await rename(making, folder);
}

/**
 * Keeps other processes out for as long as this one lives: PGlite itself would let two of them destroy the data. The lock
 * is SQLite's on an empty file beside the folder, because that is a lock of the operating system, which no kill leaves behind.
 */
function lockFolder(folder: string): DatabaseSync {
  try {
    mkdirSync(path.dirname(folder), { recursive: true });
    const lock = new DatabaseSync(`${folder}.lock`, { timeout: 0 });
    lock.exec('pragma locking_mode = exclusive; begin exclusive');
    return lock;
  } catch (cause) {
    const taken = cause instanceof Error && cause.message === 'database is locked';
    const why = taken
      ? 'another pair-store has it open; stop that one, or give this one another DATA_DIR'
      : messageOf(cause);
    throw new StartupError(`cannot use ${path.resolve(folder)} (DATA_DIR) for pairs: ${why}`, { cause });
  }
}

const sqlOf = (db: PGliteInterface | Transaction): Sql => ({
  async query<R extends object = Row>(text: string, parameters: readonly unknown[] = []) {
    const { rows } = await db.query<R>(text, [...parameters]);
    return rows;
  },
  async script(text) {
    await db.exec(text);
  },
});

class PgliteDatabase implements Database {
  readonly location: string;
  readonly query: Sql['query'];
  readonly script: Sql['script'];
  readonly #db: PGlite;
  readonly #lock: DatabaseSync;
  readonly #folder: string;
  readonly #busy = new Set<string>();
  #transactions = 0;

  constructor(db: PGlite, lock: DatabaseSync, folder: string) {
    this.#db = db;
    this.#lock = lock;
    this.#folder = folder;
    this.location = `pglite ${folder}`;
    ({ query: this.query, script: this.script } = sqlOf(db));
  }

  /** @throws RetryableError while the disk is nearly full */
  async transaction<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    await this.#requireSpace();
    const result = await this.#db.transaction((transaction) => work(sqlOf(transaction)));
    this.#transactions += 1;
    if (this.#transactions % MAINTENANCE_EVERY_TRANSACTIONS === 0) await this.#maintain();
    return result;
  }

  /** Writes the tables anew, and goes on in the log until all its segments are younger than that. */
  async compact(tables: readonly string[]): Promise<void> {
    await this.#requireSpace();
    for (const table of tables) await this.script(`vacuum full ${table}`);
    await this.script('checkpoint');
    const [log] = await this.query<{ segments: number }>('select count(*)::int as segments from pg_ls_waldir()');
    for (let left = log?.segments ?? 1; left > 0; left -= 1) {
      await this.script('select pg_switch_wal()');
      await this.script('checkpoint');
    }
  }

  async exclusively<T>(name: string, work: () => Promise<T>): Promise<T | undefined> {
    if (this.#busy.has(name)) return undefined;
    this.#busy.add(name);
    try {
      return await work();
    } finally {
      this.#busy.delete(name);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#db.close();
    this.#lock.close();
  }

  /** PostgreSQL panics when it cannot write its log, and inside PGlite a panic hangs the whole process. */
  async #requireSpace(): Promise<void> {
    const { bavail, bsize } = await statfs(this.#folder);
    const freeBytes = bavail * bsize;
    if (freeBytes >= MIN_FREE_BYTES) return;
    throw new RetryableError(
      `${this.#folder} has ${freeBytes} bytes left, pairs are kept while there are ${MIN_FREE_BYTES}; free space there`,
      { afterMs: NO_SPACE_RETRY_MS },
    );
  }

  /** What background processes of a PostgreSQL server do: without it the log grows, and with it the start after a kill. */
  async #maintain(): Promise<void> {
    const [log] = await this.query<{ bytes: number }>(
      'select pg_wal_lsn_diff(pg_current_wal_lsn(), redo_lsn)::bigint as bytes from pg_control_checkpoint()',
    );
    if ((log?.bytes ?? 0) < MAX_LOG_BYTES) return;
    await this.script('vacuum batches, runs, outbox');
    await this.script('checkpoint');
  }
}
