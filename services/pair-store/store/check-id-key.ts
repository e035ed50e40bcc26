import { StartupError } from '@understudy/service/errors';
import { type IdKey, idKeyName } from '@understudy/task';
import type { Database } from './database.ts';

/**
 * Ids that are stored and ids that will come have to be made with one key: under another one nothing that was paid for would be found again,
 * and what was forgotten would come back.
 * @throws StartupError when what is stored was made with another key, or with none
 */
export async function checkIdKey(database: Database, idKey: IdKey): Promise<void> {
  const name = idKeyName(idKey);
  const kept = await database.transaction(async (sql) => {
    await sql.query(`insert into settings (name, value) values ('id_key', $1) on conflict do nothing`, [name]);
    const [row] = await sql.query<{ value: string }>(`select value from settings where name = 'id_key'`);
    return row?.value;
  });
  if (kept === name) return;
  const advice =
    kept === 'unkeyed'
      ? 'ID_KEY_FILE has to hold the word unkeyed, or this has to be a fresh platform'
      : 'give ID_KEY_FILE the file that this platform was begun with';
  throw new StartupError(
    `${database.location} holds pairs whose ids were made with the key ${kept}, this platform has ${name}: ${advice}`,
  );
}
