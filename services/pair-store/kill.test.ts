/** The service as a process that is killed in the middle of its work, over and over, on the database in its data folder. */
import { type ChildProcess, spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { nanos } from '@nats-io/transport-node';
import type { PairsSealed } from '@understudy/contract';
import { PairStoreService } from '@understudy/contract/pair-store';
import { openBlobStore } from '@understudy/service/blobs/open-blob-store';
import { hear } from '@understudy/service/bus/broadcast';
import { createClient } from '@understudy/service/rpc/client';
import { allHandled, testBus } from '@understudy/service/testing';
import { taskDigest as digestOfTask, taskJson } from '@understudy/task';
import { testText } from '@understudy/task/grouping/testing';
import { testTask } from '@understudy/task/testing';
import { expect, it } from 'vitest';
import { openDatabase } from './store/open-database.ts';
import { newDataDir, testPair } from './testing.ts';

const PAIRS = 3_000;
const KILLS = 3;
/** Answers that come when a process stands still, on its way to be killed: at least these are under way then. */
const LAST_PAIRS = 50;
/** Killed processes hold their messages for this long. */
const ACK_WAIT_MS = 2_000;
const task = testTask();
const address = { task: task.name, taskDigest: digestOfTask(task), runId: 'run-1' };

interface Process extends AsyncDisposable {
  readonly grpcPort: number;
  /** Stops it where it is, however fast it works; only a kill ends that. */
  halt(): void;
  kill(): Promise<void>;
}

async function startProcess(env: NodeJS.ProcessEnv): Promise<Process> {
  const main = path.join(import.meta.dirname, 'main.ts');
  const child: ChildProcess = spawn(process.execPath, [main], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const kill = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  for await (const line of createInterface(child.stdout!)) {
    const { msg, grpcPort } = JSON.parse(line);
    if (msg === 'ready') return { grpcPort, halt: () => child.kill('SIGSTOP'), kill, [Symbol.asyncDispose]: kill };
  }
  throw new Error('the service ended before it was ready');
}

/** Answers that the service has recorded, as it says itself. */
async function answered({ grpcPort }: Process): Promise<number> {
  const client = createClient(PairStoreService, { address: `127.0.0.1:${grpcPort}` });
  try {
    return (await client.stats({ runId: address.runId })).answered;
  } finally {
    client.close();
  }
}

it('loses nothing, doubles nothing and seals once, however often it is killed', async () => {
  await using cleanUp = new AsyncDisposableStack();
  const dataDir = await newDataDir();
  cleanUp.defer(() => rm(dataDir, { recursive: true }));
  const { server, bus, publisher, telemetry } = cleanUp.use(await testBus());
  for (const durable of ['pair-store-answers', 'pair-store-batches']) {
    await bus.jsm.consumers.update('FACTS', durable, { ack_wait: nanos(ACK_WAIT_MS) });
  }
  const env = { NATS_URL: server.url, DATA_DIR: dataDir, LOG_LEVEL: 'info' };
  const blobs = cleanUp.use(await openBlobStore({ DATA_DIR: dataDir }));
  await blobs.put('tasks', new TextEncoder().encode(taskJson(task)));
  const sealed: PairsSealed[] = [];
  cleanUp.defer(hear(bus, telemetry, 'pairs.sealed', (fact) => sealed.push(fact)));

  // A third of the texts are near-duplicates of others; every second answer is published twice.
  const texts = Array.from({ length: PAIRS }, (_, n) => (n % 3 === 2 ? `${testText(n - 1)} ps` : testText(n)));
  const pairs = texts.map((text) => testPair(task, text));
  const manifest = pairs
    .map(({ promptId }) => promptId)
    .sort()
    .join('\n');
  const manifestDigest = await blobs.put('manifests', new TextEncoder().encode(manifest));
  const closed = { ...address, batch: 1, count: PAIRS, manifestDigest, seal: true };
  const answer = (n: number, time: number) =>
    publisher.publish({
      type: 'teacher.answered',
      entity: `${n} ${time}`,
      payload: { ...address, pair: pairs[n]!, batch: 1 },
    });

  const atKill: number[] = [];
  for (let kill = 0; kill < KILLS; kill++) {
    await using service = await startProcess(env);
    const from = (PAIRS / KILLS) * kill;
    const goal = from + PAIRS / KILLS / 2;
    const publish = (begin: number, end: number) =>
      Array.from({ length: end - begin }, (_, i) => [
        answer(begin + i, 1),
        ...(i % 2 ? [answer(begin + i, 2)] : []),
      ]).flat();
    const publishing = publish(from, from + PAIRS / KILLS - LAST_PAIRS);
    if (kill === 1) await publisher.publish({ type: 'batch.closed', entity: '1', payload: closed });
    await Promise.all(publishing);
    await expect.poll(() => answered(service), { interval: 5 }).toBeGreaterThan(goal);
    service.halt();
    await Promise.all(publish(from + PAIRS / KILLS - LAST_PAIRS, from + PAIRS / KILLS));
    await service.kill();
    const database = await openDatabase({ DATA_DIR: dataDir });
    const [stored] = await database.query<{ pairs: number }>('select count(*)::int as pairs from pairs');
    await database[Symbol.asyncDispose]();
    atKill.push(stored!.pairs);
  }
  {
    await using last = await startProcess(env);
    await expect.poll(() => sealed.length).toBe(1);
    await last.kill();
  }
  await using afterwards = await startProcess(env);
  expect(await answered(afterwards)).toBe(PAIRS);
  await publisher.publish({ type: 'batch.closed', entity: '1 again', payload: closed });
  await allHandled(bus, 'pair-store-batches');
  await afterwards.kill();

  const database = await openDatabase({ DATA_DIR: dataDir });
  cleanUp.use(database);
  const [counts] = await database.query(
    `select (select count(*)::int from pairs) as pairs, (select count(*)::int from prompts) as prompts,
       (select count(*)::int from outcomes) as outcomes, (select count(*)::int from batches where waiting > 0) as incomplete,
       (select count(distinct group_id)::int from prompts) as groups,
       (select count(*)::int from (select 1 from prompts group by group_id having count(distinct split) > 1)) as torn`,
  );
  const groups = texts.filter((_, n) => n % 3 !== 2).length;
  expect(counts).toEqual({ pairs: PAIRS, prompts: PAIRS, outcomes: PAIRS, incomplete: 0, groups, torn: 0 });
  expect(sealed).toMatchObject([{ seal: 1, answered: PAIRS, declined: 0 }]);
  expect(
    atKill.every((stored, kill) => stored < (PAIRS / KILLS) * (kill + 1)),
    `a kill hit no work under way: ${atKill}`,
  ).toBe(true);
});
