import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readRunFile, runFilePath, type SupervisorEvent } from '@understudy/cli/platform';
import { afterAll, expect, test } from 'vitest';
import { startOf } from './lock.mjs';

const folder = mkdtempSync(join(tmpdir(), 'understudy-supervisor-'));
const started: ChildProcess[] = [];

interface Supervisor {
  child: ChildProcess;
  events: SupervisorEvent[];
  exit: Promise<number>;
}

const supervise = (env: NodeJS.ProcessEnv = {}): Supervisor => {
  const child = fork(join(import.meta.dirname, 'supervisor.ts'), {
    env: { ...process.env, UNDERSTUDY_TEACHER_GATEWAYS: '1', UNDERSTUDY_DATA: folder, ...env },
    silent: true,
  });
  started.push(child);
  const events: SupervisorEvent[] = [];
  child.on('message', (event: SupervisorEvent) => events.push(event));
  return { child, events, exit: once(child, 'exit').then(([code]) => code as number) };
};

const serving = async ({ events, exit }: Supervisor): Promise<void> => {
  const ended = exit.then((code) => {
    throw new Error(`the supervisor ended with ${code}: ${JSON.stringify(events)}`);
  });
  const poll = expect.poll(() => events.some(({ event }) => event === 'serving')).toBe(true);
  await Promise.race([poll, ended]);
  ended.catch(() => {});
};

const processes = () => readRunFile(folder)!.processes;
const alive = (recorded: ReturnType<typeof processes>) =>
  recorded.filter(({ pid, started: since }) => startOf(pid) === since).map(({ name }) => name);

afterAll(async () => {
  for (const child of started) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGTERM');
    await once(child, 'exit');
  }
  rmSync(folder, { recursive: true, force: true });
});

test('a port that is taken is named before anything starts', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const { events, exit } = supervise({ UNDERSTUDY_HTTP_PORT: String(port) });
  expect(await exit).toBe(2);
  const reason = expect.stringContaining(`UNDERSTUDY_HTTP_PORT: port ${port} is taken`) as string;
  expect(events).toContainEqual({ event: 'failed', reason });
  expect(events.some(({ event }) => event === 'starting')).toBe(false);
  server.close();
});

test('an unknown setting is named', async () => {
  const { events, exit } = supervise({ UNDERSTUDY_HTTP_PROT: '1' });
  expect(await exit).toBe(2);
  const reason = expect.stringContaining('UNDERSTUDY_HTTP_PROT: no such setting') as string;
  expect(events).toEqual([{ event: 'failed', reason }]);
});

test('one supervisor a folder; one that is killed leaves nothing running; the next one takes over; a stop drains all', async () => {
  const first = supervise();
  await serving(first);
  expect(statSync(runFilePath(folder)).mode & 0o777).toBe(0o600);
  const before = processes();
  expect(alive(before)).toHaveLength(8);

  const second = supervise();
  expect(await second.exit).toBe(2);
  const reason = expect.stringContaining(`process ${first.child.pid} is already running the platform`) as string;
  expect(second.events).toEqual([{ event: 'failed', reason }]);

  const { httpUrl } = readRunFile(folder)!;
  first.child.kill('SIGKILL');
  const third = supervise();
  await serving(third);
  expect(alive(before)).toEqual([]);
  expect(readRunFile(folder)!.httpUrl).toBe(httpUrl);

  const after = processes();
  third.child.kill('SIGTERM');
  expect(await third.exit).toBe(0);
  expect(third.events.at(-1)).toEqual({ event: 'stopped' });
  expect(alive(after)).toEqual([]);
});

test('without a supervisor everything ends by itself', async () => {
  const { child, ...rest } = supervise();
  await serving({ child, ...rest });
  const orphans = processes();
  child.kill('SIGKILL');
  await expect.poll(() => alive(orphans)).toEqual([]);
});
