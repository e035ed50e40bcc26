import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { Verdict } from '@understudy/contract';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BatchStats } from '../fakes/batches.ts';
import { FakeTeacher } from '../harness/fake-teacher.ts';
import { TestPlatform } from '../harness/platform.ts';
import { openAiTeacher, routingTask } from '../harness/task.ts';

const cli = resolve(import.meta.dirname, '../../packages/cli/main.ts');
const prompts = 600;

let folder: string;
let teacher: FakeTeacher;
let platform: TestPlatform;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'understudy-batch-'));
  [teacher, platform] = await Promise.all([FakeTeacher.start(), TestPlatform.start()]);
});
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
  await teacher?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** The command and all that it starts, as one group of processes. */
const batch = (...args: string[]): ChildProcess =>
  spawn(process.execPath, [cli, 'batch', ...args, '--submit', '--per-file', '250', '--json'], {
    // The provider's batches go on with every look.
    env: { ...process.env, UNDERSTUDY_DATA: platform.dataDir, BATCH_POLL_MS: '50' },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });

const provider = async () => (await (await fetch(teacher.baseUrl.replace('/v1', '/batches'))).json()) as BatchStats;

test('a provider batch: killed in the middle with the gateway, gone on with, imported once, and sealed by a run that asks nothing', async () => {
  const task = {
    ...routingTask({ name: 'batched', folder, prompts, teacher: openAiTeacher(teacher.baseUrl) }),
    // With a tenth, the default, some keys of ids leave fewer dev pairs than a verdict takes.
    splits: { dev: 0.2, test: 0.2 },
    training: { families: ['bag'] },
  };
  const file = join(folder, 'task.json');
  await writeFile(file, JSON.stringify(task));

  await teacher.behave({ batches: { hold: 'retrieve' } });
  const first = batch(file);
  const ended = once(first, 'close');
  await platform.until(async () => (await provider()).held.length > 0);
  await Promise.all(['teacher-gateway-1', 'teacher-gateway-2'].map((name) => platform.kill(name)));
  process.kill(-first.pid!, 'SIGKILL');
  await ended;
  expect((await platform.pairStore.stats({ task: 'batched' })).pairs).toBe(0);

  await teacher.behave({});
  const second = batch(file);
  const [printed, notes] = await Promise.all([text(second.stdout!), text(second.stderr!), once(second, 'close')]);
  expect(second.exitCode, notes).toBe(0);
  const report = JSON.parse(printed);
  expect(report).toMatchObject({ task: 'batched', prompts, outcomes: { answered: prompts } });
  expect(await provider()).toMatchObject({ uploads: 3, batches: 3, repeated: {} });
  expect((await platform.pairStore.stats({ task: 'batched' })).pairs).toBe(prompts);

  const run = await platform.finished(await platform.startRun(task));
  expect(Verdict[run.verdict], run.reason).toBe('PROMOTED');
  expect([run.answered, run.cached, run.declined]).toEqual([prompts, prompts, 0]);
  const { trainPairs, devPairs, testPairs } = run.snapshot!;
  expect(trainPairs + devPairs + testPairs).toBe(prompts);
  expect((await platform.pairStore.stats({ task: 'batched' })).pairs).toBe(prompts);
  expect((await teacher.stats()).calls).toBe(0);
  expect(await platform.teacherGateway.getLedger({ task: 'batched', runId: run.runId })).toMatchObject({ calls: 0n });
});
