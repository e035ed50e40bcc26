/**
 * The service on a real bus and real databases: sealing in whatever order events come, and twice. The file is longer than 400 lines because all of
 * it needs this one world, which takes seconds to set up.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Pair, PairsSealed } from '@understudy/contract';
import { Purpose, Source, Split } from '@understudy/contract';
import { PairStoreService } from '@understudy/contract/pair-store';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { openBlobStore } from '@understudy/service/blobs/open-blob-store';
import { hear } from '@understudy/service/bus/broadcast';
import { type RunningService, startService } from '@understudy/service/lifecycle';
import { createClient, type RpcClient } from '@understudy/service/rpc/client';
import { allHandled, type TestBus, testBus } from '@understudy/service/testing';
import { canonicalJson, taskDigest as digestOfTask, sha256Hex, taskJson } from '@understudy/task';
import { testText } from '@understudy/task/grouping/testing';
import { testTask } from '@understudy/task/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { definition } from './service.ts';
import { startPostgres } from './store/postgres-server.ts';
import { databaseKinds, newDataDir, testPair } from './testing.ts';

const task = testTask({ recordTraffic: true });
const taskDigest = digestOfTask(task);

/** The platform around the service, as far as it is needed: a bus, a blob folder, and what was sealed. */
interface World {
  bus: TestBus;
  blobs: BlobStore;
  services: RunningService[];
  client: RpcClient<typeof PairStoreService>;
  /** Every pairs.sealed on the bus. */
  sealed: PairsSealed[];
}

let published = 0;

/** Publishes a fact; each call is a message of its own, so that a repetition is delivered again. */
function publish(
  world: World,
  type: 'teacher.answered' | 'teacher.declined' | 'batch.closed' | 'run.cancelled' | 'traffic.observed',
  payload: object,
) {
  published += 1;
  return world.bus.publisher.publish({
    type,
    entity: String(published),
    payload: { task: task.name, taskDigest, ...payload },
  });
}

const answer = (world: World, runId: string, pairs: readonly Pair[], cached = false) =>
  Promise.all(pairs.map((pair) => publish(world, 'teacher.answered', { runId, pair, cached, batch: 1 })));

const decline = (world: World, runId: string, pairs: readonly Pair[]) =>
  Promise.all(
    pairs.map(({ promptId }) => publish(world, 'teacher.declined', { runId, promptId, reason: 1, detail: 'spent' })),
  );

async function close(world: World, runId: string, pairs: readonly Pair[], change: object = {}) {
  const ids = pairs.map(({ promptId }) => promptId).sort();
  const manifestDigest = await world.blobs.put('manifests', new TextEncoder().encode(ids.join('\n')));
  await publish(world, 'batch.closed', { runId, batch: 1, count: ids.length, manifestDigest, seal: true, ...change });
}

const pairsFrom = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => testPair(task, testText(from + i)));

const sealedOf = (world: World, runId: string) => world.sealed.filter((fact) => fact.runId === runId);

const sealing = async (world: World, runId: string, seals = 1) => {
  await expect.poll(() => sealedOf(world, runId).length).toBe(seals);
  return sealedOf(world, runId).at(-1)!;
};

/** Resolves when the service has given every message its ending. */
async function settled({ bus }: World) {
  for (const consumer of ['pair-store-answers', 'pair-store-batches'] as const) {
    await allHandled(bus.bus, consumer);
  }
}

async function streamed(world: World, snapshotDigest: string, split = Split.UNSPECIFIED) {
  const chunks = await Array.fromAsync(world.client.streamPairs({ snapshotDigest, split }));
  return chunks.flatMap(({ pairs }) => pairs);
}

const POSTGRES = 'PostgreSQL, two instances';
describe.each(
  databaseKinds.map(({ name, skip, shared }) => ({
    name: shared ? name.replace('PostgreSQL', POSTGRES) : name,
    skip,
    shared,
  })),
)('pair-store over $name', ({ skip, shared }) => {
  if (skip) return it.skip(skip);
  const cleanUp = new AsyncDisposableStack();
  let world: World;

  beforeAll(async () => {
    const dataDir = shared ? await mkdtemp(path.join(tmpdir(), 'understudy-data-')) : await newDataDir();
    cleanUp.defer(() => rm(dataDir, { recursive: true }));
    const bus = cleanUp.use(await testBus());
    const BLOB_URL = pathToFileURL(path.join(dataDir, 'blobs')).href;
    const env: NodeJS.ProcessEnv = { NATS_URL: bus.server.url, DATA_DIR: dataDir, BLOB_URL, LOG_LEVEL: 'fatal' };
    if (shared) env.DATABASE_URL = await cleanUp.use(await startPostgres()).newDatabase();
    const services = await Promise.all((shared ? [1, 2] : [1]).map(() => startService(definition, env)));
    for (const service of services) cleanUp.defer(() => service.stop());
    const blobs = cleanUp.use(await openBlobStore({ DATA_DIR: dataDir, BLOB_URL }));
    await blobs.put('tasks', new TextEncoder().encode(taskJson(task)));
    const client = createClient(PairStoreService, { address: `127.0.0.1:${services.at(-1)!.grpcPort}` });
    cleanUp.defer(() => client.close());
    const sealed: PairsSealed[] = [];
    cleanUp.defer(hear(bus.bus, bus.telemetry, 'pairs.sealed', (fact) => sealed.push(fact)));
    world = { bus, blobs, services, client, sealed };
  });
  afterAll(() => cleanUp[Symbol.asyncDispose]());

  it('seals once when the batch is closed after its answers', async () => {
    const pairs = pairsFrom(0, 300);
    await answer(world, 'after', pairs.slice(0, 290));
    await decline(world, 'after', pairs.slice(290));
    await settled(world);
    await close(world, 'after', pairs);
    const fact = await sealing(world, 'after');
    expect(fact).toMatchObject({ seal: 1, answered: 290, declined: 10, task: task.name, taskDigest });
    const { trainPairs, devPairs, testPairs } = fact.snapshot!;
    expect(trainPairs + devPairs + testPairs).toBe(290);
  });

  it('seals once when the batch is closed before its answers, and everything comes twice', async () => {
    const pairs = pairsFrom(1_000, 1_200);
    await close(world, 'before', pairs);
    await settled(world);
    await Promise.all([
      answer(world, 'before', pairs),
      answer(world, 'before', pairs.toReversed()),
      close(world, 'before', pairs),
    ]);
    const fact = await sealing(world, 'before');
    expect(fact).toMatchObject({ seal: 1, answered: 200, declined: 0 });
    await answer(world, 'before', pairs);
    await close(world, 'before', pairs);
    await settled(world);
    expect(sealedOf(world, 'before')).toHaveLength(1);
    const pairsStored = (await world.client.stats({ runId: 'before' })).pairs;
    expect(pairsStored).toBe(200);
  });

  it('does not seal while a prompt has no outcome in this run, though it has one in another', async () => {
    const pairs = pairsFrom(0, 50);
    await close(world, 'again', pairs);
    await answer(world, 'again', pairs.slice(1), true);
    await settled(world);
    expect(sealedOf(world, 'again')).toEqual([]);
    await answer(world, 'again', pairs.slice(0, 1), true);
    expect(await sealing(world, 'again')).toMatchObject({ answered: 50 });
    expect(await world.client.stats({ runId: 'again' })).toMatchObject({
      cached: 50,
      spentMicroUsd: 0n,
      teacherCalls: 0,
    });
  });

  it('waits for the ids of the manifest, however many others the run has outcomes of', async () => {
    const [awaited, others] = [pairsFrom(3_000, 3_030), pairsFrom(3_030, 3_100)];
    await answer(world, 'others', others.slice(0, 20));
    await close(world, 'others', awaited);
    for (const half of [others.slice(20, 60), others.slice(60)]) {
      await answer(world, 'others', half);
      await answer(world, 'others', awaited.slice(half.length === 40 ? 0 : 15, half.length === 40 ? 15 : 29));
      await settled(world);
      expect(sealedOf(world, 'others')).toEqual([]);
    }
    await answer(world, 'others', awaited.slice(29));
    expect(await sealing(world, 'others')).toMatchObject({ seal: 1, answered: 100 });
  });

  it('seals again after a further batch, once the earlier one is complete too', async () => {
    const [first, second] = [pairsFrom(2_000, 2_040), pairsFrom(2_040, 2_100)];
    await close(world, 'two', second, { batch: 2 });
    await answer(world, 'two', second);
    await answer(world, 'two', first.slice(1));
    await settled(world);
    expect(sealedOf(world, 'two')).toEqual([]);
    await close(world, 'two', first, { seal: false });
    await answer(world, 'two', first.slice(0, 1));
    expect(await sealing(world, 'two')).toMatchObject({ seal: 1, answered: 100 });
    const third = pairsFrom(2_100, 2_110);
    await answer(world, 'two', third);
    await close(world, 'two', third, { batch: 3 });
    expect(await sealing(world, 'two', 2)).toMatchObject({ seal: 2, answered: 110 });
  });

  it('takes the ids in the fact itself, from those who cannot reach the blob store', async () => {
    const pairs = pairsFrom(3_000, 3_020);
    const promptIds = Buffer.concat(pairs.map(({ promptId }) => Buffer.from(promptId, 'hex')));
    await publish(world, 'batch.closed', { runId: 'outside', batch: 0, count: 20, promptIds, seal: true });
    await answer(world, 'outside', pairs);
    expect(await sealing(world, 'outside')).toMatchObject({ answered: 20 });
  });

  it('seals a run without a single answer, so that the run can end', async () => {
    const pairs = pairsFrom(3_100, 3_103);
    await decline(world, 'declined', pairs);
    await close(world, 'declined', pairs);
    const fact = await sealing(world, 'declined');
    expect(fact).toMatchObject({
      answered: 0,
      declined: 3,
      snapshot: { fingerprint: '', trainPairs: 0, testPairs: 0 },
    });
    expect(await streamed(world, fact.snapshot!.digest)).toEqual([]);
    expect((await world.client.stats({ runId: 'declined' })).declinesByReason).toEqual({ BUDGET: 3 });
  });

  it('keeps one outcome of a prompt that is declined by one gateway and answered by another, and a pair for each answer', async () => {
    const [sooner, later, together] = [pairsFrom(3_110, 3_130), pairsFrom(3_130, 3_150), pairsFrom(3_150, 3_190)];
    await decline(world, 'both', sooner);
    await answer(world, 'both', later);
    await settled(world);
    await answer(world, 'both', sooner);
    await decline(world, 'both', later);
    // As they come in one batch, in either order.
    await Promise.all(
      together.map((pair, n) =>
        Promise.all(
          n % 2 === 0
            ? [decline(world, 'both', [pair]), answer(world, 'both', [pair])]
            : [answer(world, 'both', [pair]), decline(world, 'both', [pair])],
        ),
      ),
    );
    await settled(world);
    const { answered, declined } = await world.client.stats({ runId: 'both' });
    expect(answered + declined).toBe(80);
    const found = async (pairs: Pair[]) =>
      (await world.client.findPairs({ task: task.name, pairIds: pairs.map(({ pairId }) => pairId) })).pairs.length;
    expect([await found(sooner), await found(later)]).toEqual([0, 20]);
    expect(20 + (await found(together))).toBe(answered);
  });

  it('never seals a cancelled run', async () => {
    const pairs = pairsFrom(3_200, 3_210);
    await publish(world, 'run.cancelled', { runId: 'cancelled', reason: 'enough' });
    await settled(world);
    await answer(world, 'cancelled', pairs);
    await close(world, 'cancelled', pairs);
    await settled(world);
    // A later run is sealed, so the sealer has passed over this one.
    await answer(world, 'later', pairs, true);
    await close(world, 'later', pairs);
    await sealing(world, 'later');
    expect(sealedOf(world, 'cancelled')).toEqual([]);
  });

  it("freezes all of the fingerprint's pairs, in a file that says what is in it", async () => {
    const other = pairsFrom(4_000, 4_005).map(({ text }) => testPair(task, text, { fingerprint: 'f'.repeat(64) }));
    const mine = pairsFrom(4_000, 4_120);
    await answer(world, 'frozen', [...other, ...mine]);
    await close(world, 'frozen', mine);
    const { snapshot } = await sealing(world, 'frozen');
    expect(snapshot?.fingerprint).toBe(mine[0]!.fingerprint);
    const pairs = await streamed(world, snapshot!.digest);
    const ids = pairs.map(({ pair }) => pair!.pairId);
    expect(ids).toEqual(ids.toSorted());
    // Those of all earlier runs as well.
    for (const { pairId } of [...mine.slice(5), ...pairsFrom(0, 200)]) expect(ids).toContain(pairId);
    expect(pairs.every(({ pair }) => pair!.fingerprint === snapshot!.fingerprint)).toBe(true);
    const manifest = await world.client.getSnapshot({ snapshotDigest: snapshot!.digest });
    expect(manifest).toMatchObject({ snapshot, task: task.name });
    const { splits, pairs: file } = JSON.parse(manifest.manifestJson);
    expect(sha256Hex(canonicalJson(JSON.parse(manifest.manifestJson)))).toBe(snapshot!.digest);
    expect(file).toMatchObject({ rows: pairs.length, format: 'parquet', codec: 'zstd' });
    for (const [name, split] of [
      ['train', Split.TRAIN],
      ['dev', Split.DEV],
      ['test', Split.TEST],
    ] as const) {
      const one = await streamed(world, snapshot!.digest, split);
      expect(one).toEqual(pairs.filter((pair) => pair.split === split));
      expect(one.length).toBe(splits[name]);
    }
  });

  it('lets one test pair stand for its near-duplicates, with the weight of all', async () => {
    const pairs = Array.from({ length: 60 }, (_, n) => testPair(task, testText(5_000 + n), { weight: 2 }));
    const copies = pairs.map(({ text }) => testPair(task, `${text} ps`, { weight: 3 }));
    await answer(world, 'weights', pairs);
    await settled(world);
    await answer(world, 'weights', copies);
    await close(world, 'weights', [...pairs, ...copies]);
    const all = await streamed(world, (await sealing(world, 'weights')).snapshot!.digest);
    const mine = new Map([...pairs, ...copies].map((pair) => [pair.pairId, pair]));
    const byGroup = Map.groupBy(
      all.filter(({ pair }) => mine.has(pair!.pairId)),
      ({ groupId }) => groupId,
    );
    expect(byGroup.size).toBe(60);
    for (const members of byGroup.values()) {
      const weights = members.map(({ weight }) => weight).toSorted();
      expect(weights).toEqual(members[0]!.split === Split.TEST ? [5] : [2, 3]);
    }
    expect(new Set(all.map(({ split }) => split)).size).toBe(3);
  });

  it('keeps what the teacher answered to clients, to train on', async () => {
    const pairs = Array.from({ length: 30 }, (_, n) =>
      testPair(task, testText(6_000 + n), { purpose: Purpose.SERVE, source: Source.TRAFFIC }),
    );
    await Promise.all(
      pairs.map((pair, n) => publish(world, 'traffic.observed', { requestId: String(n), pair, answerer: 2 })),
    );
    await publish(world, 'traffic.observed', { requestId: 'student', answerer: 1 });
    const find = async () =>
      (await world.client.findPairs({ task: task.name, pairIds: pairs.map(({ pairId }) => pairId) })).pairs;
    await expect.poll(async () => (await find()).length).toBe(30);
    const asked = pairsFrom(6_100, 6_110);
    await answer(world, 'with-traffic', asked);
    await close(world, 'with-traffic', asked);
    const snapshotDigest = (await sealing(world, 'with-traffic')).snapshot!.digest;
    const all = await streamed(world, snapshotDigest);
    const kept = all.filter(({ pair }) => pairs.some(({ pairId }) => pairId === pair!.pairId));
    expect(kept.length).toBe(30);
    expect(new Set(kept.map(({ pair }) => pair!.origin))).toEqual(new Set(['traffic']));
    expect(new Set(all.map(({ pair }) => pair!.origin))).toEqual(new Set(['traffic', 'mail.jsonl']));
    expect(new Set(kept.map(({ split }) => split))).toEqual(new Set([Split.TRAIN]));

    // What comes later is counted beside the snapshot, another teacher's answers are not.
    const beyond = async () => world.client.stats({ snapshotDigest });
    expect(await beyond()).toMatchObject({ pairs: 0, trainPairs: 0, devPairs: 0, testPairs: 0 });
    const [live, fingerprint] = [{ purpose: Purpose.SERVE, source: Source.TRAFFIC }, sha256Hex('another teacher')];
    const later = Array.from({ length: 25 }, (_, n) =>
      testPair(task, testText(6_200 + n), n < 5 ? { ...live, fingerprint } : live),
    );
    for (const pair of later) await publish(world, 'traffic.observed', { requestId: pair.pairId, pair, answerer: 2 });
    const laterIds = later.map(({ pairId }) => pairId);
    await expect
      .poll(async () => (await world.client.findPairs({ task: task.name, pairIds: laterIds })).pairs.length)
      .toBe(25);
    expect(await beyond()).toMatchObject({ pairs: 20, trainPairs: 20, devPairs: 0, testPairs: 0 });
    await expect(world.client.stats({ snapshotDigest: 'f'.repeat(64) })).rejects.toThrow(/there is no snapshot f/);
  });

  it('keeps imported pairs once, as outcomes of their run, and every later snapshot has them beside its own', async () => {
    const fingerprint = sha256Hex('a model in a log');
    const imported = (from: number, to: number, source = Source.SELECTED) =>
      Array.from({ length: to - from }, (_, n) => testPair(task, testText(from + n), { fingerprint, source }));
    const [training, judging] = [imported(7_000, 7_030), imported(7_030, 7_130, Source.RANDOM)];
    const pairs = [...training, ...judging];
    const request = { task: task.name, taskDigest, runId: 'imported', pairs };
    expect(await world.client.importPairs(request)).toMatchObject({ kept: 130 });
    expect(await world.client.importPairs(request)).toMatchObject({ kept: 0 });
    const stats = await world.client.stats({ runId: 'imported' });
    expect(stats).toMatchObject({ answered: 130, cached: 130, teacherCalls: 0, spentMicroUsd: 0n });
    await close(world, 'imported', pairs);
    const own = await streamed(world, (await sealing(world, 'imported')).snapshot!.digest);
    const trainIds = new Set(training.map(({ promptId }) => promptId));
    const splitsOf = (all: typeof own, of: (id: string) => boolean) =>
      new Set(all.filter(({ pair }) => of(pair!.promptId)).map(({ split }) => split));
    expect(own.filter(({ pair }) => pair!.fingerprint === fingerprint)).toHaveLength(130);
    expect(splitsOf(own, (id) => trainIds.has(id))).toEqual(new Set([Split.TRAIN]));
    expect(splitsOf(own, (id) => judging.some(({ promptId }) => promptId === id)).size).toBe(3);

    // The teacher answers one of them itself: its own answer goes first.
    const asked = [testPair(task, testText(7_000)), ...pairsFrom(7_200, 7_210)];
    await answer(world, 'after-import', asked);
    await close(world, 'after-import', asked);
    const later = await streamed(world, (await sealing(world, 'after-import')).snapshot!.digest);
    expect(later.filter(({ pair }) => pair!.promptId === asked[0]!.promptId)).toHaveLength(1);
    expect(later.filter(({ pair }) => pair!.fingerprint === fingerprint)).toHaveLength(129);
  });

  it('imports nothing that the task would not make of it', async () => {
    const [pair] = pairsFrom(7_300, 7_301);
    const refused = (change: object) =>
      world.client.importPairs({ task: task.name, taskDigest, pairs: [{ ...pair!, ...change }] });
    await expect(refused({ answerJson: '{"label":"eggs"}' })).rejects.toThrow(/answer_json/);
    await expect(refused({ text: 'another text' })).rejects.toThrow(/expected what the task makes of them/);
    await expect(refused({ fingerprint: sha256Hex('forged') })).rejects.toThrow(/pair_id: expected/);
    await expect(refused({ inputJson: '{' })).rejects.toThrow(/JSON/);
    await expect(
      world.client.importPairs({ task: task.name, taskDigest, pairs: new Array(501).fill(pair) }),
    ).rejects.toThrow(/at most 500, came 501/);
    expect((await world.client.findPairs({ task: task.name, pairIds: [pair!.pairId] })).pairs).toEqual([]);
  });

  it('answers who asks for what is not there, or wrongly', async () => {
    const digest = await world.blobs.put('snapshots', new TextEncoder().encode('not a manifest'));
    await expect(world.client.getSnapshot({ snapshotDigest: digest })).rejects.toThrow(/is no manifest of a snapshot/);
    await expect(world.client.getSnapshot({ snapshotDigest: 'a'.repeat(64) })).rejects.toThrow(
      /there is no snapshot a{64}/,
    );
    await expect(streamed(world, '../../etc/passwd')).rejects.toThrow(/expected a SHA-256 of 64 hex digits/);
    await expect(world.client.stats({})).rejects.toThrow(/expected a task, a run_id or a snapshot_digest, came none/);
    await expect(world.client.findPairs({ task: task.name, pairIds: ['x'] })).rejects.toThrow(
      /expected 64 hex digits each, came "x"/,
    );
    await expect(
      world.client.findPairs({ task: task.name, pairIds: new Array(1_001).fill('a'.repeat(64)) }),
    ).rejects.toThrow(/expected at most 1000, came 1001/);
  });

  it('puts aside what cannot be right, with the reason, and keeps the rest of its batch', async () => {
    const [good, forged] = pairsFrom(7_000, 7_002);
    await answer(world, 'mixed', [good!, { ...forged!, pairId: good!.pairId }]);
    await publish(world, 'batch.closed', {
      runId: 'mixed',
      batch: 1,
      count: 5,
      promptIds: Buffer.alloc(32),
      seal: true,
    });
    await publish(world, 'batch.closed', {
      runId: 'mixed',
      batch: 2,
      count: 1,
      promptIds: Buffer.alloc(33),
      seal: true,
    });
    await close(world, 'mixed', [good!], { batch: 3 });
    await close(world, 'mixed', [forged!], { batch: 3 });
    const letters = await world.bus.deadLetters(4);
    const reasons = letters.map(({ reason }) => reason).toSorted();
    expect(reasons).toEqual([
      expect.stringMatching(/^batch 3 of run mixed was closed before with manifest/),
      expect.stringMatching(/^count: the manifest holds 1 distinct ids, the fact says 5/),
      expect.stringMatching(/^pair.pair_id: expected [0-9a-f]{64}, the digest of its parts, came/),
      expect.stringMatching(/^prompt_ids: expected 32 bytes for each id, came 33 bytes/),
    ]);
    await expect.poll(() => world.client.stats({ runId: 'mixed' })).toMatchObject({ answered: 1 });
  });
});
