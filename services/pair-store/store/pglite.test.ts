/** What only PGlite needs: room on the disk, and the work of PostgreSQL's background processes. */
import { spawnSync } from 'node:child_process';
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { newDataDir } from '../testing.ts';
import { openPglite } from './pglite.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'understudy-pglite-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

it('keeps its log short, and every row, over a kill', async () => {
  const dataDir = await newDataDir();
  await cp(path.join(dataDir, 'pglite'), path.join(root, 'pglite'), { recursive: true });
  await rm(dataDir, { recursive: true });
  const log = async () =>
    (await readdir(path.join(root, 'pglite/pg_wal'))).filter((name) => /^[0-9A-F]{24}$/.test(name)).length;
  const program = `
    import { openPglite } from ${JSON.stringify(path.join(import.meta.dirname, 'pglite.ts'))};
    const database = await openPglite(${JSON.stringify(path.join(root, 'pglite'))});
    await database.script('create table filler (x int, y text)');
    for (let n = 0; n < 64; n++) {
      await database.transaction((sql) => sql.query("insert into filler select $1, repeat('x', 1900) from generate_series(1, 2000)", [n]));
    }
    process.kill(process.pid, 'SIGKILL');`;
  spawnSync(process.execPath, ['--input-type=module-typescript', '-e', program], { stdio: 'inherit' });
  // 64 transactions write some 260 MB of log, in segments of 16 MB.
  expect(await log()).toBeLessThan(12);
  const database = await openPglite(path.join(root, 'pglite'));
  expect(
    await database.query('select count(*)::int as rows, count(distinct x)::int as transactions from filler'),
  ).toEqual([{ rows: 128_000, transactions: 64 }]);
  await database[Symbol.asyncDispose]();
});

const whyNoMount =
  spawnSync('unshare', ['-rm', 'true']).status === 0 ? '' : ' (skipped: this machine lets no test mount a small disk)';
it.skipIf(whyNoMount)(
  `refuses to write before the disk is full, and goes on once there is room${whyNoMount}`,
  async () => {
    const dataDir = await newDataDir();
    const program = `
    import { cpSync, rmSync, writeFileSync } from 'node:fs';
    import { openPglite } from ${JSON.stringify(path.join(import.meta.dirname, 'pglite.ts'))};
    cpSync(${JSON.stringify(path.join(dataDir, 'pglite'))}, ${JSON.stringify(path.join(root, 'pglite'))}, { recursive: true });
    const database = await openPglite(${JSON.stringify(path.join(root, 'pglite'))});
    const put = (id) => database.transaction((sql) => sql.query('insert into runs (run_id, task) values ($1, $1)', [id]));
    await put('before');
    writeFileSync(${JSON.stringify(path.join(root, 'ballast'))}, Buffer.alloc(150e6));
    await put('full').catch((error) => console.log(error.name, error.afterMs, error.message));
    rmSync(${JSON.stringify(path.join(root, 'ballast'))});
    await put('after');
    console.log(JSON.stringify(await database.query('select run_id from runs order by 1')));`;
    const script = `mount -t tmpfs -o size=300m none ${root} && exec ${process.execPath} "$@"`;
    const { stdout } = spawnSync(
      'unshare',
      ['-rm', 'bash', '-c', script, 'bash', '--input-type=module-typescript', '-e', program],
      { encoding: 'utf8' },
    );
    await rm(dataDir, { recursive: true });
    expect(stdout).toMatch(
      /^RetryableError 30000 .*pglite has \d+ bytes left, pairs are kept while there are 134217728; free space there\n/,
    );
    expect(stdout).toContain(JSON.stringify([{ run_id: 'after' }, { run_id: 'before' }]));
  },
);
