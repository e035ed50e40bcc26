/** Forgetting on a real bus and real databases: what is gone, what stays verifiable, and what comes late. */
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Pair, PairsSealed } from '@understudy/contract';
import { ForgettingService, PairStoreService } from '@understudy/contract/pair-store';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { openBlobStore } from '@understudy/service/blobs/open-blob-store';
import { hear } from '@understudy/service/bus/broadcast';
import { startService } from '@understudy/service/lifecycle';
import { createClient, type RpcClient } from '@understudy/service/rpc/client';
import { type TestBus, testBus } from '@understudy/service/testing';
import { taskDigest as digestOfTask, taskJson } from '@understudy/task';
import { testText } from '@understudy/task/grouping/testing';
import { rowDigest, TableDigest } from '@understudy/task/row-digest';
import { testTask } from '@understudy/task/testing';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { definition } from '../service.ts';
import { COLUMN_NAMES, openTable } from '../snapshot/columns.ts';
import { getManifest } from '../snapshot/manifest.ts';
import { tableBytes } from '../snapshot/table-of.ts';
import type { Database } from '../store/database.ts';
import { openPostgres } from '../store/postgres.ts';
import { startPostgres } from '../store/postgres-server.ts';
import { databaseKinds, newDataDir, testPair } from '../testing.ts';

const task = testTask({ recordTraffic: true });
const taskDigest = digestOfTask(task);
const CANARY = 'Zebrafink-4711';
const who = { author: 'Ada', reason: 'asked by mail' };
const idsOf = (...pairs: Pair[]) => Buffer.from(pairs.map(({ promptId }) => promptId).join(''), 'hex');
const hex = (ids: Uint8Array) => Buffer.from(ids).toString('hex');

describe.each(databaseKinds)('forgetting over $name', ({ skip, shared }) => {
  if (skip) return it.skip(skip);
  const cleanUp = new AsyncDisposableStack();
  let [bus, blobs, dataDir]: [TestBus, BlobStore, string] = [undefined!, undefined!, ''];
  let postgres: Database | undefined;
  let client: RpcClient<typeof PairStoreService>;
  let forgetting: RpcClient<typeof ForgettingService>;
  const sealed: PairsSealed[] = [];
  let published = 0;

  beforeAll(async () => {
    dataDir = shared ? await mkdtemp(path.join(tmpdir(), 'understudy-data-')) : await newDataDir();
    cleanUp.defer(() => rm(dataDir, { recursive: true }));
    bus = cleanUp.use(await testBus());
    const BLOB_URL = pathToFileURL(path.join(dataDir, 'blobs')).href;
    const env: NodeJS.ProcessEnv = { NATS_URL: bus.server.url, DATA_DIR: dataDir, BLOB_URL, LOG_LEVEL: 'fatal' };
    if (shared) {
      env.DATABASE_URL = await cleanUp.use(await startPostgres()).newDatabase();
      postgres = cleanUp.use(await openPostgres(env.DATABASE_URL));
    }
    const service = await startService(definition, env);
    cleanUp.defer(() => service.stop());
    blobs = cleanUp.use(await openBlobStore({ DATA_DIR: dataDir, BLOB_URL }));
    await blobs.put('tasks', new TextEncoder().encode(taskJson(task)));
    const address = `127.0.0.1:${service.grpcPort}`;
    [client, forgetting] = [createClient(PairStoreService, { address }), createClient(ForgettingService, { address })];
    for (const one of [client, forgetting]) cleanUp.defer(() => one.close());
    // A table is written anew for each; on a machine that is busy with other things that takes its time.
    const { forget } = forgetting;
    forgetting = { ...forgetting, forget: (request) => forget(request, { timeoutMs: 240_000 }) };
    cleanUp.defer(hear(bus.bus, bus.telemetry, 'pairs.sealed', (fact) => sealed.push(fact)));
  });
  afterAll(() => cleanUp[Symbol.asyncDispose]());

  const publish = (type: 'teacher.answered' | 'batch.closed' | 'traffic.observed', payload: object) => {
    published += 1;
    return bus.publisher.publish({
      type,
      entity: String(published),
      payload: { task: task.name, taskDigest, ...payload },
    });
  };
  const answer = (runId: string, pairs: readonly Pair[]) =>
    Promise.all(pairs.map((pair) => publish('teacher.answered', { runId, pair, batch: 1 })));
  const close = async (runId: string, pairs: readonly Pair[]) => {
    const ids = pairs.map(({ promptId }) => promptId).sort();
    const manifestDigest = await blobs.put('manifests', new TextEncoder().encode(ids.join('\n')));
    await publish('batch.closed', { runId, batch: 1, count: ids.length, manifestDigest, seal: true });
  };
  const sealOf = async (runId: string) => {
    await expect.poll(() => sealed.some((fact) => fact.runId === runId)).toBe(true);
    return sealed.find((fact) => fact.runId === runId)!;
  };
  const streamed = async (snapshotDigest: string) => {
    const chunks = await Array.fromAsync(client.streamPairs({ snapshotDigest }));
    const erased = chunks.reduce((sum, chunk) => sum + chunk.erased, 0);
    return { pairs: chunks.flatMap(({ pairs }) => pairs), erased };
  };
  /** Messages of a stream that hold the canary. */
  const onBus = async (stream: string) => {
    const { state } = await bus.bus.jsm.streams.info(stream);
    let found = 0;
    for (let seq = state.first_seq; seq <= state.last_seq; seq += 1) {
      const message = await bus.bus.jsm.streams.getMessage(stream, { seq }).catch(() => null);
      if (message && Buffer.from(message.data).includes(CANARY)) found += 1;
    }
    return found;
  };

  const secret = testPair(task, `${CANARY} asks for a refund`, { origin: 'mail.jsonl' });
  const others = Array.from({ length: 60 }, (_, n) =>
    testPair(task, testText(n), { origin: n < 3 ? 'calls.csv' : 'mail.jsonl' }),
  );

  it('an input is gone from tables and snapshots, and what is left is held to the same digest', async () => {
    await answer('first', [secret, ...others]);
    await close('first', [secret, ...others]);
    const { snapshot } = await sealOf('first');
    const before = await getManifest(blobs, snapshot!.digest);
    const receipt = await forgetting.forget({ task: task.name, promptIds: idsOf(secret), ...who });
    expect(receipt.erasure).toMatchObject({ ...who, task: task.name, inputs: 1 });
    expect(receipt.erasure!.doneAt).toBeUndefined();
    expect(receipt.erasure!.steps).toMatchObject([
      { step: 'pair-store', erased: { prompts: 1n, pairs: 1n, 'snapshot rows': 1n } },
    ]);
    expect(hex(receipt.promptIds)).toBe(secret.promptId);
    expect(receipt.snapshots).toMatchObject([{ snapshotDigest: snapshot!.digest }]);
    expect(await client.findPairs({ task: task.name, pairIds: [secret.pairId] })).toMatchObject({ pairs: [] });

    expect(await blobs.has('snapshots', before.pairs.digest)).toBe(false);
    const table = await openTable(await tableBytes(blobs, before.pairs.digest));
    const digest = new TableDigest();
    for (const row of await table.read(0, table.rows))
      digest.add(row.erased_digest ?? rowDigest({ ...row }, COLUMN_NAMES));
    expect(digest.hex()).toBe('rowsDigest' in before.pairs && before.pairs.rowsDigest);
    const { pairs, erased } = await streamed(snapshot!.digest);
    expect({ rows: pairs.length + erased, erased }).toEqual({ rows: before.pairs.rows, erased: 1 });
    expect(JSON.stringify(pairs.map(({ pair }) => pair?.text))).not.toContain(CANARY);
  });

  it.runIf(!shared)('nothing of it is in any file of the data folder', () => {
    const found = () => execFileSync('grep', ['-rlaF', CANARY, dataDir], { encoding: 'utf8' });
    // Status 1: no line was found.
    expect(found).toThrow(expect.objectContaining({ status: 1 }));
  });

  it.runIf(shared)(
    "nothing of it is in the server's tables: only its log has it, as long as its owner keeps that",
    async () => {
      const [server] = await postgres!.query<{ folder: string }>(`select current_setting('data_directory') as folder`);
      const base = path.join(server!.folder, 'base');
      const grep = (text: string) => execFileSync('grep', ['-rlaF', text, base], { encoding: 'utf8' });
      await postgres!.script('checkpoint');
      expect(grep(testText(5)), 'what was not forgotten is on the disk').toContain(base);
      expect(() => grep(CANARY)).toThrow(expect.objectContaining({ status: 1 }));
    },
  );

  it('the same again changes nothing, and goes on with the same journal', async () => {
    const again = await forgetting.forget({
      task: task.name,
      promptIds: idsOf(secret),
      author: 'Bob',
      reason: 'again',
    });
    expect(again.erasure).toMatchObject({ author: 'Bob', inputs: 1 });
    expect(again.erasure!.steps).toMatchObject([{ erased: { prompts: 1n, pairs: 1n, 'snapshot rows': 1n } }]);
    expect(again.snapshots).toHaveLength(1);
    const step = { step: 'bus', erased: { messages: 3n }, students: { abc: 'quarantined' } };
    const { erasureId } = again.erasure!;
    await forgetting.noteErasure({ erasureId, step });
    await forgetting.noteErasure({ erasureId, step, done: true });
    const { erasures } = await forgetting.listErasures({ task: task.name });
    expect(erasures).toHaveLength(1);
    expect(erasures[0]!.doneAt).toBeDefined();
    expect(erasures[0]!.steps.find((one) => one.step === 'bus')).toMatchObject({
      erased: { messages: 6n },
      students: { abc: 'quarantined' },
    });
  });

  it('what comes late is neither kept nor left on the bus, and its run is told that it was forgotten', async () => {
    const fresh = Array.from({ length: 5 }, (_, n) => testPair(task, testText(500 + n)));
    await close('late', [secret, ...fresh]);
    await answer('late', [secret, ...fresh]);
    const fact = await sealOf('late');
    expect(fact).toMatchObject({ answered: 5, declined: 1 });
    expect(await client.stats({ task: task.name, runId: 'late' })).toMatchObject({
      declinesByReason: { FORGOTTEN: 1 },
    });
    await publish('traffic.observed', { requestId: 'r1', pair: secret });
    await publish('traffic.observed', { requestId: 'r2', inputJson: secret.inputJson, answerJson: '{"label":"ham"}' });
    await expect.poll(() => onBus('TRAFFIC')).toBe(0);
    expect(await client.findPairs({ task: task.name, pairIds: [secret.pairId] })).toMatchObject({ pairs: [] });
    expect(await client.importPairs({ task: task.name, taskDigest, pairs: [secret] })).toMatchObject({ kept: 0 });
  });

  it('a batch that waits for a forgotten prompt is sealed without it, whichever comes first', async () => {
    const [one, two] = [testPair(task, 'first of the two'), testPair(task, 'second of the two')];
    await close('waits', [one, ...others.slice(10, 20)]);
    await answer('waits', others.slice(10, 20));
    await expect.poll(async () => (await client.stats({ runId: 'waits' })).answered).toBe(10);
    await forgetting.forget({ task: task.name, promptIds: idsOf(one), ...who });
    expect(await sealOf('waits')).toMatchObject({ answered: 10, declined: 1 });
    await forgetting.forget({ task: task.name, promptIds: idsOf(two), ...who });
    await close('later', [two, ...others.slice(10, 20)]);
    await answer('later', others.slice(10, 20));
    expect(await sealOf('later')).toMatchObject({ answered: 10, declined: 1 });
  });

  it('a whole source goes, and nothing else', async () => {
    const receipt = await forgetting.forget({ task: task.name, source: 'calls.csv', ...who });
    expect(receipt.erasure).toMatchObject({ source: 'calls.csv', inputs: 3 });
    expect(hex(receipt.promptIds).match(/.{64}/g)!.toSorted()).toEqual(
      others
        .slice(0, 3)
        .map(({ promptId }) => promptId)
        .toSorted(),
    );
    const left = await client.findPairs({ task: task.name, pairIds: others.map(({ pairId }) => pairId) });
    expect(left.pairs).toHaveLength(others.length - 3);
    const listed = await Array.fromAsync(forgetting.listForgotten({ task: task.name }));
    expect(listed.reduce((sum, { promptIds }) => sum + promptIds.length / 32, 0)).toBe(6);
    // Once more: its pairs are gone, and it is still known what they were.
    expect((await forgetting.forget({ task: task.name, source: 'calls.csv', ...who })).erasure).toMatchObject({
      inputs: 3,
    });
  });

  it('whoever goes on with an erasure need not know what is meant; its author and reason stay', async () => {
    const open = async () => (await forgetting.listErasures({ task: task.name, open: true })).erasures;
    const one = testPair(task, 'one that is begun');
    await client.importPairs({ task: task.name, taskDigest, pairs: [one] });
    const begun = await forgetting.forget({ task: task.name, promptIds: idsOf(one), ...who });
    const { erasureId } = begun.erasure!;
    expect((await open()).map((each) => each.erasureId)).toContain(erasureId);
    const further = testPair(task, 'found meanwhile');
    const goesOn = await forgetting.forget({ erasureId, promptIds: idsOf(further) });
    expect(goesOn.erasure).toMatchObject({ ...who, erasureId, task: task.name, inputs: 2 });
    expect(goesOn.promptIds).toHaveLength(64);
    await forgetting.noteErasure({ erasureId, done: true });
    expect((await open()).map((each) => each.erasureId)).not.toContain(erasureId);
    await expect(forgetting.forget({ erasureId: 'never' })).rejects.toThrow(/no erasure/);
  });

  it('an input is erased by its id and with its source, at once and in either order: each goes on with all that is its own', async () => {
    const pairs = ['a', 'b', 'c'].map((name) => testPair(task, `${name} of both.csv`, { origin: 'both.csv' }));
    const [a, b, c] = pairs as [Pair, Pair, Pair];
    await answer('both', [...pairs, ...others.slice(20, 30)]);
    await close('both', [...pairs, ...others.slice(20, 30)]);
    const { snapshot } = await sealOf('both');
    const byId = (one: Pair) => forgetting.forget({ task: task.name, promptIds: idsOf(one), ...who });
    const bySource = () => forgetting.forget({ task: task.name, source: 'both.csv', ...who });
    const first = await byId(a);
    const [second, source] = await Promise.all([byId(b), bySource()]);
    const third = await byId(c);
    for (const receipt of [first, second, third]) {
      expect(receipt.erasure).toMatchObject({ inputs: 1 });
      expect(receipt.snapshots.map(({ snapshotDigest }) => snapshotDigest)).toEqual([snapshot!.digest]);
    }
    // Which of the two that were at once found the row is chance; between them they found each once.
    const found = [first, second, source, third].map(({ erasure }) => Number(erasure!.steps[0]!.erased.pairs));
    expect(found.reduce((sum, count) => sum + count)).toBe(3);
    // Each is resumed by what it is called alone, and still knows its inputs.
    for (const [{ erasure }, pair] of [
      [first, a],
      [second, b],
      [third, c],
    ] as const) {
      expect(hex((await forgetting.forget({ erasureId: erasure!.erasureId })).promptIds)).toBe(pair.promptId);
    }
    const goesOn = await forgetting.forget({ erasureId: source.erasure!.erasureId });
    expect(goesOn.promptIds).toEqual(source.promptIds);
    expect(hex(goesOn.promptIds)).toContain(c.promptId);
    const listed = await Array.fromAsync(forgetting.listForgotten({ task: task.name }));
    const ids = listed.flatMap(({ promptIds }) => hex(promptIds).match(/.{64}/g) ?? []);
    expect(ids).toHaveLength(new Set(ids).size);
    expect(ids).toEqual(expect.arrayContaining(pairs.map(({ promptId }) => promptId)));
    const { pairs: left } = await streamed(snapshot!.digest);
    expect(left.filter(({ pair }) => pair?.origin === 'both.csv')).toEqual([]);
  });

  it('two at once are one after the other, and neither brings back what the other erased', async () => {
    const both = [testPair(task, 'one of two at once'), testPair(task, 'two of two at once'), ...others.slice(10, 20)];
    await answer('at-once', both);
    await close('at-once', both);
    const { snapshot } = await sealOf('at-once');
    const receipts = await Promise.all(
      both.slice(0, 2).map((one) => forgetting.forget({ task: task.name, promptIds: idsOf(one), ...who })),
    );
    for (const { erasure, snapshots } of receipts) {
      expect(erasure).toMatchObject({ inputs: 1, steps: [{ erased: { pairs: 1n, 'snapshot rows': 1n } }] });
      expect(snapshots.map(({ snapshotDigest }) => snapshotDigest)).toEqual([snapshot!.digest]);
    }
    const { pairs } = await streamed(snapshot!.digest);
    expect(pairs.filter(({ pair }) => pair?.text.endsWith('at once'))).toEqual([]);
  });

  it('whoever reads a snapshot while it is replaced gets it, before or after', async () => {
    const { snapshot } = sealed.at(-1)!;
    const { pairs } = await getManifest(blobs, snapshot!.digest);
    const read = blobs.get.bind(blobs);
    const spy = vi.spyOn(blobs, 'get').mockImplementationOnce(async (kind, digest) => {
      // Between the note and the file.
      await forgetting.forget({ task: task.name, promptIds: idsOf(others[10]!), ...who });
      return read(kind, digest);
    });
    onTestFinished(() => void spy.mockRestore());
    const table = await openTable(await tableBytes(blobs, pairs.digest));
    const row = (await table.read(0, table.rows)).find(({ prompt_id }) => prompt_id === others[10]!.promptId);
    expect(row?.erased_digest).toMatch(/^[0-9a-f]{64}$/);
  });

  it('an id or a source that never was erases nothing, and an id of another task is refused', async () => {
    const never = await forgetting.forget({ task: task.name, promptIds: new Uint8Array(32).fill(7), ...who });
    expect(never).toMatchObject({
      erasure: { inputs: 1, steps: [{ erased: { prompts: 0n, pairs: 0n } }] },
      snapshots: [],
    });
    const source = await forgetting.forget({ task: task.name, source: 'never.csv', ...who });
    expect(source).toMatchObject({ erasure: { inputs: 0 }, snapshots: [] });
    const foreign = { task: 'another', promptIds: idsOf(others[12]!), ...who };
    await expect(forgetting.forget(foreign)).rejects.toThrow(/one of/);
    expect(await client.findPairs({ task: task.name, pairIds: [others[12]!.pairId] })).toMatchObject({
      pairs: [{ promptId: others[12]!.promptId }],
    });
  });

  it.each([
    [{ author: ' ' }, /author/],
    [{ reason: '' }, /reason/],
    [{ promptIds: new Uint8Array(31) }, /prompt_ids/],
    [{ promptIds: new Uint8Array() }, /prompt_ids or a source/],
    [{ task: '../x' }, /task/],
  ])('refuses %j', async (change, message) => {
    const request = { task: task.name, promptIds: idsOf(secret), ...who, ...change };
    await expect(forgetting.forget(request)).rejects.toThrow(message);
  });
});
