import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SupervisorEvent } from '@understudy/cli/platform';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Child } from './child.ts';
import { stopLeftovers } from './leftovers.ts';
import { startOf } from './lock.mjs';

let folder = '';
let children: Child[] = [];
let events: SupervisorEvent[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'understudy-child-'));
  children = [];
  events = [];
});
afterEach(async () => {
  await Promise.all(children.map((child) => child.stop()));
  rmSync(folder, { recursive: true, force: true });
});

const path = (name: string) => join(folder, name);

/** A process that runs a script; it is ready when the script has made the file `ready`. */
const childOf = (script: string, stopWithinMs = 60_000, readyWithinMs = 60_000): Child => {
  const child = new Child(
    {
      name: 'example',
      program: process.execPath,
      args: ['--input-type=module', '--eval', `import { rmSync, writeFileSync } from 'node:fs';\n${script}`],
      env: { FOLDER: folder },
      logFile: path('example.log'),
      isReady: async () => existsSync(path('ready')),
      readyWithinMs,
      stopWithinMs,
    },
    (event) => events.push(event),
    () => {},
  );
  children.push(child);
  return child;
};

const becomeReady = `writeFileSync(process.env.FOLDER + '/ready', '');`;
const stayAlive = 'setInterval(() => {}, 1_000);';

test('a process that is killed is started again, and says so', async () => {
  const child = childOf(`${becomeReady} ${stayAlive}`);
  await child.start();
  const first = child.identity!.pid;
  rmSync(path('ready'));
  process.kill(first, 'SIGKILL');
  await expect.poll(() => events.filter(({ event }) => event === 'ready').length).toBe(2);
  expect(child.identity!.pid).not.toBe(first);
  expect(events.find(({ event }) => event === 'restarting')).toMatchObject({ name: 'example', afterMs: 200 });
});

test('a process that says that its surroundings are not fit is given up at once, with its words', async () => {
  const child = childOf(`console.error('DATABASE_URL: no such host'); process.exit(2);`);
  await expect(child.start()).rejects.toThrow(/example ended with exit code 2; .*\n {2}DATABASE_URL: no such host$/);
  expect(events.some(({ event }) => event === 'restarting')).toBe(false);
});

test('a process that never becomes ready is given up after a few tries, and the reason is not that it was killed', async () => {
  const child = childOf(stayAlive, 60_000, 1);
  await expect(child.start()).rejects.toThrow(
    /^example was not ready within 0.001 s and was ended \(.*says nothing\)$/,
  );
  expect(events.filter(({ event }) => event === 'restarting')).toHaveLength(3);
});

test('a program that does not exist is given up at once', async () => {
  const child = childOf('');
  const spec = { ...child.spec, program: path('missing') };
  const other = new Child(
    spec,
    () => {},
    () => {},
  );
  await expect(other.start()).rejects.toThrow(/cannot be started: spawn .*missing ENOENT/);
});

test('stop asks first: the process finishes what it began', async () => {
  const child = childOf(
    `process.on('SIGTERM', () => setTimeout(() => { writeFileSync(process.env.FOLDER + '/drained', ''); process.exit(0); }, 50)); ${becomeReady} ${stayAlive}`,
  );
  await child.start();
  await child.stop();
  expect(existsSync(path('drained'))).toBe(true);
  expect(child.identity).toBeUndefined();
});

test('a process that does not listen is killed in the end', async () => {
  const child = childOf(`process.on('SIGTERM', () => {}); ${becomeReady} ${stayAlive}`, 200);
  await child.start();
  const { pid } = child.identity!;
  await child.stop();
  expect(startOf(pid)).toBeUndefined();
});

test('a process that waits to be started again can be stopped', async () => {
  const child = childOf('process.exit(1);');
  child.start().catch(() => {});
  await expect.poll(() => events.filter(({ event }) => event === 'restarting').length).toBeGreaterThan(1);
  await child.stop();
  const count = events.length;
  expect(readFileSync(path('example.log'), 'utf8')).toBe('');
  expect(events.length).toBe(count);
});

test('what an earlier supervisor left behind is ended; a process with a reused id is not', async () => {
  const [left, foreign] = [childOf(`${becomeReady} ${stayAlive}`), childOf(`${becomeReady} ${stayAlive}`)];
  await Promise.all([left.start(), foreign.start()]);
  const [a, b] = [left.identity!, foreign.identity!];
  await stopLeftovers([a, { ...b, started: 'another time' }]);
  expect(startOf(a.pid)).not.toBe(a.started);
  expect(startOf(b.pid)).toBe(b.started);
});
