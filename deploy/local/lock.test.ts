import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startOf, tryLock } from './lock.mjs';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'understudy-lock-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const module = JSON.stringify(new URL('./lock.mjs', import.meta.url).href);

const run = (script: string) =>
  spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['ignore', 'pipe', 'inherit'] });

test('a second taker learns who holds it; after the release it takes it', () => {
  const first = tryLock(folder, 'testing');
  expect(tryLock(folder, 'testing too')).toEqual({ holder: { pid: process.pid, purpose: 'testing' } });
  first.release?.();
  expect(tryLock(folder, 'testing too').release).toBeTypeOf('function');
});

test('a holder that was killed holds nothing', async () => {
  const child = run(
    `import { tryLock } from ${module}; tryLock(${JSON.stringify(folder)}, 'dying'); console.log('held'); setInterval(() => {}, 1000);`,
  );
  await once(child.stdout, 'data');
  expect(tryLock(folder, 'testing').holder).toEqual({ pid: child.pid, purpose: 'dying' });
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(tryLock(folder, 'testing').release).toBeTypeOf('function');
});

test('of many processes that take it again and again, also by dying with it, never two hold it', async () => {
  // Each holder reads a counter, waits, and writes it back one higher: an overlap loses a count.
  const [counter, rounds, processes] = [join(folder, 'counter'), 25, 4];
  writeFileSync(counter, '0');
  const locks = JSON.stringify(join(folder, 'locks'));
  const script = `
    import { readFileSync, writeFileSync } from 'node:fs';
    import { setTimeout as sleep } from 'node:timers/promises';
    import { tryLock } from ${module};
    for (let round = 0; round < ${rounds}; ) {
      const { release } = tryLock(${locks}, 'counting');
      if (!release) { await sleep(1); continue; }
      const count = Number(readFileSync(${JSON.stringify(counter)}, 'utf8'));
      await sleep(2);
      writeFileSync(${JSON.stringify(counter)}, String(count + 1));
      round += 1;
      if (round < ${rounds}) release();
    }`;
  const children = Array.from({ length: processes }, () => run(script));
  await Promise.all(children.map((child) => once(child, 'exit')));
  expect(readFileSync(counter, 'utf8')).toBe(String(rounds * processes));
  expect(readdirSync(join(folder, 'locks'))).toHaveLength(1);
});

test('a start time tells processes apart', () => {
  expect(startOf(process.pid)).toBe(startOf(process.pid));
  expect(startOf(process.pid)).not.toBe(startOf(process.ppid));
  expect(startOf(2 ** 22 + 1)).toBeUndefined();
});
