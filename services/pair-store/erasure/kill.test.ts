/** An erasure that is killed at each of its seams, over and over, and goes on with the same request. */
import { execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { PairsSealed } from '@understudy/contract';
import { ForgettingService, PairStoreService } from '@understudy/contract/pair-store';
import { openBlobStore } from '@understudy/service/blobs/open-blob-store';
import { hear } from '@understudy/service/bus/broadcast';
import { createClient } from '@understudy/service/rpc/client';
import { testBus } from '@understudy/service/testing';
import { taskDigest as digestOfTask, promptIdBytes, taskJson } from '@understudy/task';
import { testText } from '@understudy/task/grouping/testing';
import { rowDigest, TableDigest } from '@understudy/task/row-digest';
import { testTask } from '@understudy/task/testing';
import { expect, it } from 'vitest';
import { COLUMN_NAMES, openTable } from '../snapshot/columns.ts';
import { getManifest } from '../snapshot/manifest.ts';
import { replacementOf, tableBytes } from '../snapshot/table-of.ts';
import { newDataDir, testPair } from '../testing.ts';

const CANARY = 'Zebrafink-4711';
/** Who dies says so at once; on a busy machine all else takes its time. */
const patient = { timeoutMs: 240_000 };
const task = testTask();
const taskDigest = digestOfTask(task);
const secret = testPair(task, `${CANARY} asks for a refund`);
const pairs = [secret, ...Array.from({ length: 20 }, (_, n) => testPair(task, testText(n)))];

it('loses no other row, and all of the input, wherever it is killed', async () => {
  await using cleanUp = new AsyncDisposableStack();
  const dataDir = await newDataDir();
  cleanUp.defer(() => rm(dataDir, { recursive: true }));
  const { server, bus, publisher, telemetry } = cleanUp.use(await testBus());
  const blobs = cleanUp.use(await openBlobStore({ DATA_DIR: dataDir }));
  await blobs.put('tasks', new TextEncoder().encode(taskJson(task)));
  const sealed: PairsSealed[] = [];
  cleanUp.defer(hear(bus, telemetry, 'pairs.sealed', (fact) => sealed.push(fact)));

  const start = async (diesBefore: string) => {
    const env = { NATS_URL: server.url, DATA_DIR: dataDir, LOG_LEVEL: 'fatal', DIES_BEFORE: diesBefore };
    const child = fork(path.join(import.meta.dirname, 'testing-killed.ts'), { env: { ...process.env, ...env } });
    const exited = once(child, 'exit');
    const stop = async () => {
      child.kill('SIGKILL');
      return (await exited)[1];
    };
    cleanUp.defer(stop);
    const [{ grpcPort }] = await once(child, 'message');
    const address = `127.0.0.1:${grpcPort}`;
    const [store, forgetting] = [
      createClient(PairStoreService, { address }),
      createClient(ForgettingService, { address }),
    ];
    for (const client of [store, forgetting]) cleanUp.defer(() => client.close());
    const forget = () =>
      forgetting.forget(
        { task: task.name, promptIds: promptIdBytes([secret.promptId]), author: 'Ada', reason: 'asked' },
        patient,
      );
    return { store, forgetting, forget, exited, stop };
  };
  /** Rows of the snapshot as whoever reads it finds them, held to the manifest's digest. */
  const readable = async (snapshotDigest: string) => {
    const manifest = await getManifest(blobs, snapshotDigest);
    const table = await openTable(await tableBytes(blobs, manifest.pairs.digest));
    const rows = await table.read(0, table.rows);
    const digest = new TableDigest();
    for (const row of rows) digest.add(row.erased_digest ?? rowDigest({ ...row }, COLUMN_NAMES));
    expect(digest.hex()).toBe('rowsDigest' in manifest.pairs && manifest.pairs.rowsDigest);
    expect(rows).toHaveLength(pairs.length);
    return rows.filter(({ text }) => text.includes(CANARY)).length;
  };

  let snapshotDigest = '';
  // Rows are gone; the new table is there, and no note; the note is there, and the old table too.
  for (const [diesBefore, holdsIt] of [
    ['list', 1],
    ['putNamed', 1],
    ['remove', 0],
  ] as const) {
    const service = await start(diesBefore);
    if (snapshotDigest === '') {
      await service.store.importPairs({ task: task.name, taskDigest, runId: 'r', pairs }, patient);
      const ids = pairs.map(({ promptId }) => promptId).sort();
      const manifestDigest = await blobs.put('manifests', new TextEncoder().encode(ids.join('\n')));
      const closed = {
        task: task.name,
        taskDigest,
        runId: 'r',
        batch: 1,
        count: ids.length,
        manifestDigest,
        seal: true,
      };
      await publisher.publish({ type: 'batch.closed', entity: '1', payload: closed });
      await expect.poll(() => sealed.length).toBe(1);
      snapshotDigest = sealed[0]!.snapshot!.digest;
    }
    const [forgotten, [, signal]] = await Promise.all([
      service.forget().catch((error: Error) => error),
      service.exited,
    ]);
    expect(forgotten).toBeInstanceOf(Error);
    expect(signal, diesBefore).toBe('SIGKILL');
    expect(await readable(snapshotDigest), `killed before ${diesBefore}`).toBe(holdsIt);
  }
  const { pairs: original } = await getManifest(blobs, snapshotDigest);
  expect(await blobs.has('snapshots', original.digest), 'the last kill came before the removal').toBe(true);

  // What whoever dies in the middle of writing a snapshot leaves.
  await writeFile(path.join(dataDir, 'blobs', '.partial', 'snapshots.left'), CANARY);
  const last = await start('');
  // What was found before a kill is not taken for nothing, and whoever learnt from it is still found.
  expect(await last.forget()).toMatchObject({
    erasure: { inputs: 1, steps: [{ step: 'pair-store', erased: { prompts: 1n, pairs: 1n } }] },
    snapshots: [{ snapshotDigest }],
  });
  expect((await last.forgetting.listErasures({ task: task.name }, patient)).erasures).toHaveLength(1);
  expect(await last.store.importPairs({ task: task.name, taskDigest, pairs: [secret] }, patient)).toMatchObject({
    kept: 0,
  });
  await last.stop();
  expect(await readable(snapshotDigest)).toBe(0);
  const left = await Array.fromAsync(blobs.list('snapshots', ''));
  const replacement = await replacementOf(blobs, original.digest);
  expect(left.toSorted()).toEqual([snapshotDigest, replacement?.table].toSorted());
  const found = () => execFileSync('grep', ['-rlaF', CANARY, dataDir], { encoding: 'utf8' });
  expect(found, 'status 1: no line was found').toThrow(expect.objectContaining({ status: 1 }));
});
