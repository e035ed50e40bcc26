/** A PostgreSQL server, shared by any number of instances of this service. */
import { messageOf, StartupError } from '@understudy/service/errors';
import pg from 'pg';
import { type Database, INT8_OID, parseInt8, type Row, SCHEMA, type Sql } from './database.ts';

/** Recording, sealing, publishing and a few queries at once; more connections would only queue inside the server. */
const MAX_CONNECTIONS = 8;
/** A server that does not answer a connection within this time is down. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Longer than the slowest statement by far (the manifest of a million prompts); what takes longer hangs. */
const STATEMENT_TIMEOUT_MS = 120_000;
/** Writing a table anew takes half a second for 50,000 pairs; whoever asked to forget waits no longer than this. */
const COMPACT_TIMEOUT_MS = 600_000;

const types = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === INT8_OID ? parseInt8 : pg.types.getTypeParser(oid, format as 'text')) as typeof pg.types.getTypeParser,
};

/**
 * Connects to the server at `url` (`postgres://user:password@host:port/database`).
 * @throws StartupError when it cannot be reached or refuses us
 */
export async function openPostgres(url: string): Promise<Database> {
  const pool = new pg.Pool({
    connectionString: url,
    max: MAX_CONNECTIONS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    application_name: 'understudy-pair-store',
    options: `-c search_path=${SCHEMA}`,
    types,
  });
  const { host, pathname } = new URL(url);
  const location = `postgres ${host}${pathname}`;
  // An idle connection that breaks is replaced by the pool; whoever uses a broken one gets the error.
  pool.on('error', () => {});
  try {
    await pool.query('select 1');
  } catch (cause) {
    await pool.end();
    throw new StartupError(`cannot use ${location} (DATABASE_URL): ${messageOf(cause)}`, { cause });
  }
  return new PostgresDatabase(pool, location);
}

const sqlOf = (client: pg.Pool | pg.PoolClient): Sql => ({
  async query<R extends object = Row>(text: string, parameters: readonly unknown[] = []) {
    const { rows } = await client.query<R>(text, [...parameters]);
    return rows;
  },
  async script(text) {
    await client.query(text);
  },
});

class PostgresDatabase implements Database {
  readonly location: string;
  readonly query: Sql['query'];
  readonly script: Sql['script'];
  readonly #pool: pg.Pool;

  constructor(pool: pg.Pool, location: string) {
    this.#pool = pool;
    this.location = location;
    ({ query: this.query, script: this.script } = sqlOf(pool));
  }

  transaction<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    return this.#withClient(async (client) => {
      await client.query('begin');
      const result = await work(sqlOf(client));
      await client.query('commit');
      return result;
    });
  }

  /**
   * Writes the tables anew, one after the other; nobody else uses one meanwhile. What was deleted stays in the log, its archive, replicas and
   * backups for as long as the server's owner has them kept.
   */
  async compact(tables: readonly string[]): Promise<void> {
    await this.#withClient(async (client) => {
      await client.query(`set statement_timeout = ${COMPACT_TIMEOUT_MS}`);
      for (const table of tables) await client.query(`vacuum full ${table}`);
      await client.query('reset statement_timeout');
    });
  }

  exclusively<T>(name: string, work: () => Promise<T>): Promise<T | undefined> {
    return this.#withClient(async (client) => {
      // A lock of the session, so that it ends with the process that holds it.
      const key = 'hashtextextended($1, 0)';
      const { rows } = await client.query<{ mine: boolean }>(`select pg_try_advisory_lock(${key}) as mine`, [name]);
      if (!rows[0]?.mine) return undefined;
      const result = await work();
      await client.query(`select pg_advisory_unlock(${key})`, [name]);
      return result;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.end();
  }

  /** A connection on which anything failed is closed: that rolls back its transaction and frees its locks. */
  async #withClient<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const client = await this.#pool.connect();
    try {
      const result = await work(client);
      client.release();
      return result;
    } catch (cause) {
      client.release(true);
      throw cause;
    }
  }
}
