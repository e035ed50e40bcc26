/** One interface over PGlite and PostgreSQL: the same SQL, the same types of values. */

/** A value of a row: `bigint` columns arrive as numbers, `bytea` as bytes, arrays as arrays. */
export type Row = Record<string, unknown>;

export interface Sql {
  /** Runs one statement. Parameters are `$1`, `$2`, …; arrays are PostgreSQL arrays. */
  query<R extends object = Row>(text: string, parameters?: readonly unknown[]): Promise<R[]>;
  /** Runs several statements without parameters. */
  script(text: string): Promise<void>;
}

export interface Database extends Sql, AsyncDisposable {
  /** For logs, without credentials. */
  readonly location: string;
  /**
   * Commits what `work` did when it resolves, and nothing of it otherwise. `work` uses the `Sql` it is given, no other.
   * Everything that writes goes through here.
   */
  transaction<T>(work: (sql: Sql) => Promise<T>): Promise<T>;
  /** Takes what was deleted from these tables out of the database's files too, as far as it is in our hands. */
  compact(tables: readonly string[]): Promise<void>;
  /**
   * Runs `work` unless another instance of the service is at work under the same name; then resolves to undefined. The
   * name is free again as soon as the instance that held it is done, gone or dead.
   */
  exclusively<T>(name: string, work: () => Promise<T>): Promise<T | undefined>;
}

/** PostgreSQL's number of a value's type: https://www.postgresql.org/docs/current/catalog-pg-type.html */
export const INT8_OID = 20;

/** `bigint` as number. Throws where a number could not hold it. */
export function parseInt8(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`the database holds ${text}, which is no safe integer`);
  return value;
}

/** The schema that holds all tables of this service, so that one database can serve others too. */
export const SCHEMA = 'pair_store';
