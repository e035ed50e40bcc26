import path from 'node:path';
import type { Database } from './database.ts';
import { migrate } from './migrate.ts';
import { openPglite } from './pglite.ts';
import { openPostgres } from './postgres.ts';

/**
 * Opens the database that the settings name, with its tables up to date.
 * @throws StartupError saying what cannot be used, and why
 */
export async function openDatabase(settings: {
  DATABASE_URL?: string | undefined;
  DATA_DIR: string;
}): Promise<Database> {
  const { DATABASE_URL: url, DATA_DIR: dataDir } = settings;
  const database = await (url ? openPostgres(url) : openPglite(path.join(dataDir, 'pglite')));
  try {
    await migrate(database);
  } catch (cause) {
    await database[Symbol.asyncDispose]();
    throw cause;
  }
  return database;
}
