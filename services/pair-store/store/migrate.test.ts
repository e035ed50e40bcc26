/** Opening a database: migrations, and who else may have it open. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { StartupError } from '@understudy/service/errors';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { databaseKinds, newDataDir, type TestDatabase } from '../testing.ts';
import { lookAtDue } from './batches.ts';
import { checkIdKey } from './check-id-key.ts';
import { type Database, SCHEMA } from './database.ts';
import { migrate, ownMigrations } from './migrate.ts';
import { openDatabase } from './open-database.ts';

const tables = async (database: Database) => {
  const rows = await database.query<{ name: string }>(
    `select table_name as name from information_schema.tables where table_schema = 'pair_store' order by 1`,
  );
  return rows.map(({ name }) => name);
};

describe.each(databaseKinds)('migrations on $name', ({ skip, shared, start }) => {
  if (skip) return it.skip(skip);
  let server: Awaited<ReturnType<typeof start>>;
  let place: TestDatabase;
  beforeAll(async () => {
    server = await start();
  });
  afterAll(() => server?.[Symbol.asyncDispose]());
  beforeEach(async () => {
    place = await server.newDatabase();
    return () => place[Symbol.asyncDispose]();
  });

  it('run once', async () => {
    const database = await place.open();
    const before = await tables(database);
    expect(before).toContain('pairs');
    await migrate(database);
    expect(await tables(database)).toEqual(before);
    expect(await database.query('select version from migrations')).toEqual(
      ownMigrations().map(({ version }) => ({ version })),
    );
  });

  it('leave nothing of themselves when one fails', async () => {
    const database = await place.open();
    const next = ownMigrations().length + 1;
    const added = [
      { version: next, name: 'good.sql', sql: 'create table extra (x int);' },
      { version: next + 1, name: 'bad.sql', sql: 'create table half (x int); select no_such_function();' },
    ];
    await expect(migrate(database, [...ownMigrations(), ...added])).rejects.toThrow(
      /cannot bring .* up to date: .*no_such_function/,
    );
    expect(await tables(database)).not.toContain('extra');
    await migrate(database, [...ownMigrations(), added[0]!]);
    expect(await tables(database)).toContain('extra');
  });

  it('refuse a database that a newer version made', async () => {
    const database = await place.open();
    await database.query(`insert into migrations (version, name) values (999, 'from the future')`);
    await expect(migrate(database)).rejects.toThrow(/at version 999, this pair-store knows \d+: start the newer/);
  });

  it('keep what a batch of the first version waits for', async () => {
    const database = await place.open();
    await database.script(`drop schema ${SCHEMA} cascade`);
    const [first] = ownMigrations();
    await migrate(database, [first!]);
    await database.script(`
      insert into runs (run_id, task, answered) values ('r', 't', 1);
      insert into outcomes (run_id, prompt_id, pair_id, cached, spent_micro_usd, calls, duration_us)
        values ('r', sha256('answered since'), sha256('a pair'), false, 0, 1, 1);
      insert into batches (run_id, batch, task, task_digest, manifest_digest, seal)
        values ('r', 1, 't', 'd', 'm', true), ('r', 2, 't', 'd', 'm', true);
      insert into awaited values ('r', 2, sha256('answered since')), ('r', 2, sha256('missing'))`);
    await migrate(database);
    await lookAtDue(database);
    expect(
      await database.query(
        `select batch, waiting_for = array[sha256('missing')] as waits, waiting, complete_from
         from batches order by batch`,
      ),
    ).toEqual([
      { batch: 1, waits: false, waiting: 0, complete_from: 0 },
      { batch: 2, waits: true, waiting: 1, complete_from: 2 },
    ]);
  });

  it('keep the probabilities of labels, and say nothing of where those pairs came from', async () => {
    const database = await place.open();
    await database.script(`drop schema ${SCHEMA} cascade`);
    await migrate(database, ownMigrations().slice(0, 2));
    const columns = `pair_id, task, prompt_id, fingerprint, sample_number, text, answer_json, label, probabilities, purpose,
      source, input_tokens, output_tokens, spent_micro_usd, duration_us, calls, answered_at_us`;
    const pair = (id: string, probabilities: string) =>
      `('${id}', 't', '', '', 0, '', '{"kind":"ham"}', 'ham', '${probabilities}', 1, 1, 0, 0, 0, 0, 0, 0)`;
    await database.script(`insert into pairs (${columns}) values ${pair('one', '{0.1,0.9}')}, ${pair('two', '{}')}`);
    await migrate(database);
    const rows = await database.query<{ soft: string; origin: string }>(
      'select soft, origin from pairs order by pair_id',
    );
    expect(rows.map(({ origin }) => origin)).toEqual(['', '']);
    expect(rows.map(({ soft }) => JSON.parse(soft))).toEqual([{ kind: [0.1, 0.9] }, {}]);
  });

  it('leave ids that were made without a key as they are, and let nobody mix keys', async () => {
    const database = await place.open();
    await database.script(`drop schema ${SCHEMA} cascade`);
    await migrate(database, ownMigrations().slice(0, 6));
    await database.script(`insert into prompts (prompt_id, task, group_id, split, weight, input_json, first_pair)
      values (sha256('old'), 't', '', 1, 1, '{}', '')`);
    await migrate(database);
    const [one, two] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
    await expect(checkIdKey(database, one)).rejects.toThrow(/made with the key unkeyed.*hold the word unkeyed/);
    await checkIdKey(database, undefined);
    await database.script('truncate settings');
    await checkIdKey(database, one);
    await checkIdKey(database, one);
    await expect(checkIdKey(database, two)).rejects.toThrow(
      /give ID_KEY_FILE the file that this platform was begun with/,
    );
    await expect(checkIdKey(database, undefined)).rejects.toThrow(/this platform has unkeyed/);
    const [{ salts } = { salts: 0 }] = await database.query<{ salts: number }>(
      'select count(distinct salt)::int as salts from prompts where length(salt) = 16',
    );
    expect(salts).toBe(1);
  });

  it.runIf(shared)('run once when several instances start together', async () => {
    const opened = await Promise.all([1, 2, 3, 4].map(() => place.open()));
    expect(await opened[0]!.query('select version from migrations')).toHaveLength(ownMigrations().length);
  });

  it.runIf(shared)('let one instance at a time do named work, and pass it on when that one dies', async () => {
    const [one, two] = [await place.open(), await place.open()];
    const order: string[] = [];
    const { promise: until, resolve: finish } = Promise.withResolvers<void>();
    const first = one.exclusively('work', async () => {
      order.push('first begins');
      await until;
      return 'first';
    });
    await expect.poll(() => order.length).toBe(1);
    expect(await two.exclusively('work', async () => 'second')).toBeUndefined();
    expect(await two.exclusively('other work', async () => 'second')).toBe('second');
    finish();
    expect(await first).toBe('first');
    await expect(one.exclusively('work', () => Promise.reject(new Error('it died')))).rejects.toThrow('it died');
    await expect.poll(() => two.exclusively('work', async () => 'second')).toBe('second');
  });
});

/** A process that opens the database in a data folder, says how that went, and does something more. */
const openerArguments = (dataDir: string, then = '') => {
  const program = `
    import { openDatabase } from ${JSON.stringify(path.join(import.meta.dirname, 'open-database.ts'))};
    try {
      await openDatabase({ DATA_DIR: ${JSON.stringify(dataDir)} });
      console.log('open');
    } catch (error) { console.log(error.message); }
    ${then}`;
  return ['--input-type=module-typescript', '-e', program];
};

describe('a data folder', () => {
  let dataDir: string;
  beforeEach(async () => {
    dataDir = await newDataDir();
    return () => rm(dataDir, { recursive: true, force: true });
  });

  it('is refused to a second process, and free again once the first was killed', async () => {
    const run = (then?: string) =>
      spawnSync(process.execPath, openerArguments(dataDir, then), { encoding: 'utf8' }).stdout;
    const mine = await openDatabase({ DATA_DIR: dataDir });
    expect(run()).toMatch(/cannot use .*pglite \(DATA_DIR\) for pairs: another pair-store has it open/);
    await mine[Symbol.asyncDispose]();
    expect(run(`process.kill(process.pid, 'SIGKILL');`)).toBe('open\n');
    const again = await openDatabase({ DATA_DIR: dataDir });
    expect(await tables(again)).toContain('pairs');
    await again[Symbol.asyncDispose]();
  });

  it('opens though a process was killed while it made the database', async () => {
    await rm(path.join(dataDir, 'pglite'), { recursive: true });
    const begun = path.join(dataDir, 'pglite.new', 'PG_VERSION');
    const dying = path.join(dataDir, 'dying.mjs');
    // It dies of the next file that it opens, so that it is never done before.
    await writeFile(
      dying,
      `import fs, { existsSync } from 'node:fs';
      import { syncBuiltinESMExports } from 'node:module';
      const { openSync } = fs;
      fs.openSync = (...asked) => {
        if (existsSync(${JSON.stringify(begun)})) process.kill(process.pid, 'SIGKILL');
        return openSync(...asked);
      };
      syncBuiltinESMExports();`,
    );
    const { signal } = spawnSync(process.execPath, ['--import', dying, ...openerArguments(dataDir)]);
    expect(signal).toBe('SIGKILL');
    expect(existsSync(begun)).toBe(true);
    expect(existsSync(path.join(dataDir, 'pglite'))).toBe(false);
    const database = await openDatabase({ DATA_DIR: dataDir });
    expect(await tables(database)).toContain('pairs');
    await database[Symbol.asyncDispose]();
  });

  it('that cannot be written is named', async () => {
    const file = path.join(dataDir, 'file');
    await writeFile(file, '');
    const opening = openDatabase({ DATA_DIR: file });
    await expect(opening).rejects.toThrow(/cannot use .*file\/pglite \(DATA_DIR\) for pairs: E(EXIST|NOTDIR)/);
    await expect(opening).rejects.toBeInstanceOf(StartupError);
  });
});

describe('DATABASE_URL', () => {
  it('that leads nowhere is named, without its password', async () => {
    const opening = openDatabase({ DATABASE_URL: 'postgres://user:secret@127.0.0.1:1/pairs', DATA_DIR: '/nowhere' });
    await expect(opening).rejects.toThrow(/cannot use postgres 127.0.0.1:1\/pairs \(DATABASE_URL\): .*ECONNREFUSED/);
    await expect(opening).rejects.not.toThrow(/secret/);
  });
});
