/** Brings the tables up to date: every numbered file in `migrations/` runs once, in order. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { messageOf, StartupError } from '@understudy/service/errors';
import { type Database, SCHEMA, type Sql } from './database.ts';

interface Migration {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
}

/** The migrations of this version of the code: files `0001_name.sql`, numbered without gaps. */
export function ownMigrations(): Migration[] {
  const folder = path.join(import.meta.dirname, 'migrations');
  return readdirSync(folder)
    .filter((file) => file.endsWith('.sql'))
    .sort()
    .map((file, index) => {
      const version = Number(/^(\d{4})_/.exec(file)?.[1]);
      if (version !== index + 1) throw new Error(`migration ${file}: expected number ${index + 1}`);
      return { version, name: file, sql: readFileSync(path.join(folder, file), 'utf8') };
    });
}

/**
 * Runs what has not run yet, all of it or nothing; a second instance that starts at the same time waits.
 * @throws StartupError when the database was made by a newer version, or a migration fails
 */
export async function migrate(database: Database, migrations = ownMigrations()): Promise<void> {
  try {
    await database.transaction((sql) => migrateIn(sql, migrations));
  } catch (cause) {
    if (cause instanceof StartupError) throw cause;
    throw new StartupError(`cannot bring ${database.location} up to date: ${messageOf(cause)}`, { cause });
  }
}

async function migrateIn(sql: Sql, migrations: readonly Migration[]): Promise<void> {
  await sql.query(`select pg_advisory_xact_lock(hashtextextended('understudy pair-store migrations', 0))`);
  await sql.script(`create schema if not exists ${SCHEMA}; create table if not exists migrations (
    version int primary key, name text not null, applied_at timestamptz not null default now())`);
  const applied = await sql.query<{ version: number }>('select version from migrations order by version');
  const newest = applied.at(-1)?.version ?? 0;
  if (newest > migrations.length) {
    throw new StartupError(
      `the database is at version ${newest}, this pair-store knows ${migrations.length}: start the newer pair-store`,
    );
  }
  for (const { version, name, sql: text } of migrations.slice(newest)) {
    await sql.script(text);
    await sql.query('insert into migrations (version, name) values ($1, $2)', [version, name]);
  }
}
