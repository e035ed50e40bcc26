/** What people decide about pairs, what is listed for them, and what a snapshot makes of both. Over PGlite and PostgreSQL. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { Pair } from '@understudy/contract';
import { Purpose, Source } from '@understudy/contract';
import { type SettlePairRequest, SettlePairRequestSchema, Suspicion } from '@understudy/contract/pair-store';
import { FolderBlobStore } from '@understudy/service/blobs/folder';
import { Telemetry } from '@understudy/service/telemetry';
import { compileTask, taskJson } from '@understudy/task';
import { testText } from '@understudy/task/grouping/testing';
import { testTask } from '@understudy/task/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { PairStoreContext } from '../context.ts';
import { Groups } from '../grouping/groups.ts';
import { Journal } from '../journal.ts';
import { listDecisions } from '../routes/list-decisions.ts';
import { listSuspects } from '../routes/list-suspects.ts';
import { settlePair } from '../routes/settle-pair.ts';
import { poisonedPairs, TRIGGER } from '../screening/testing.ts';
import { openTable } from '../snapshot/columns.ts';
import { getManifest } from '../snapshot/manifest.ts';
import { sealNext } from '../snapshot/seal.ts';
import { record } from '../store/record.ts';
import { Tasks } from '../tasks.ts';
import { databaseKinds, emptyTables, testPair } from '../testing.ts';

const task = testTask();
const { digest: taskDigest } = compileTask(task);

/** Nothing here is heard of on a bus. */
const busOfNobody = undefined as unknown as PairStoreContext['bus'];

describe.each(databaseKinds)('decisions in $name', ({ skip, start }) => {
  if (skip) return it.skip(skip);
  const cleanUp = new AsyncDisposableStack();
  let context: PairStoreContext;
  let runs = 0;

  beforeAll(async () => {
    const place = cleanUp.use(await cleanUp.use(await start()).newDatabase());
    const folder = await mkdtemp(join(tmpdir(), 'understudy-review-'));
    cleanUp.defer(() => rm(folder, { recursive: true }));
    const blobs = await FolderBlobStore.open(folder);
    await blobs.put('tasks', new TextEncoder().encode(taskJson(task)));
    const telemetry = new Telemetry({ service: 'pair-store', logLevel: 'fatal' });
    context = {
      ...{ database: await place.open(), blobs, telemetry, journal: new Journal(telemetry) },
      ...{
        bus: busOfNobody,
        idKey: undefined,
        tasks: new Tasks(blobs, undefined),
        groups: new Groups(),
        wakeSealer: () => {},
      },
    };
  });
  afterAll(() => cleanUp[Symbol.asyncDispose]());
  beforeEach(async () => {
    await emptyTables(context.database);
    context = { ...context, groups: new Groups() };
  });

  /** Stores the pairs as a run's, and seals it. */
  const sealed = async (pairs: readonly Pair[]) => {
    runs += 1;
    const runId = `run-${runs}`;
    const known = await context.tasks.get(task.name, taskDigest);
    await record(
      context.database,
      context.groups,
      known,
      pairs.map((pair) => ({ pair, asked: { runId, cached: false } })),
      [],
    );
    await context.database.query(
      `insert into batches (run_id, batch, task, task_digest, manifest_digest, seal, waiting, complete_from)
       values ($1, 1, $2, $3, '', true, 0, 0)`,
      [runId, task.name, taskDigest],
    );
    expect(await sealNext(context)).toBe(true);
    const [batch] = await context.database.query<{ digest: string }>(
      'select snapshot_digest as digest from batches where run_id = $1',
      [runId],
    );
    const manifest = await getManifest(context.blobs, batch!.digest);
    const { read } = await openTable(await context.blobs.get('snapshots', manifest.pairs.digest));
    return { digest: batch!.digest, manifest, rows: await read(0, manifest.pairs.rows) };
  };
  const settle = async (request: MessageInitShape<typeof SettlePairRequestSchema>) => {
    const about = { task: task.name, taskDigest, author: 'Ada', reason: 'read it' };
    return (await settlePair(context, create(SettlePairRequestSchema, { ...about, ...request }) as SettlePairRequest))
      .decision;
  };
  const suspects = async (foldsDigest = '') => {
    const listed = await Array.fromAsync(listSuspects(context, { task: task.name, foldsDigest } as never));
    return listed.map(({ suspect }) => suspect);
  };
  const answered = (label: string) => ({ case: 'answerJson', value: JSON.stringify({ label }) }) as const;
  const pairs = Array.from({ length: 60 }, (_, n) => testPair(task, testText(n)));

  it('override, drop and retire in every later snapshot, and say so', async () => {
    const before = await sealed(pairs);
    const [wrong, junk, right] = before.rows.filter(({ split }) => split === 'train');
    const tested = before.rows.find(({ split }) => split === 'test')!;
    const held = before.rows.find(({ split }) => split === 'dev')!;
    const decision = await settle({ pairId: wrong!.pair_id, verdict: answered('spam') });
    await settle({ pairId: junk!.pair_id.slice(0, 12), verdict: { case: 'drop', value: true } });
    await settle({ pairId: right!.pair_id, verdict: { case: 'keep', value: true } });
    await settle({ pairId: tested.pair_id, verdict: answered('spam') });
    await settle({ pairId: held.pair_id, verdict: { case: 'keep', value: true } });
    const after = await sealed(pairs);
    const byId = new Map(after.rows.map((row) => [row.pair_id, row]));
    expect(byId.get(wrong!.pair_id)).toMatchObject({
      answer_json: '{"label":"spam"}',
      soft: '{}',
      settled: decision.decisionId,
    });
    expect(byId.get(right!.pair_id)).toMatchObject({
      answer_json: '{"label":"ham"}',
      settled: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    for (const { pair_id } of [junk!, tested, held]) expect(byId.has(pair_id)).toBe(false);
    expect(after.rows).toHaveLength(before.rows.length - 3);
    expect(after.manifest).toMatchObject({ settled: 2, leftOut: { dropped: 1, retired: 2 } });
    // The teacher that is another one by now says what it says: the input is settled all the same.
    const fingerprint = 'e'.repeat(64);
    const again = await sealed(
      pairs.map(({ inputJson }) => testPair(task, JSON.parse(inputJson).text, { fingerprint })),
    );
    const asked = again.rows.find(({ prompt_id }) => prompt_id === wrong!.prompt_id);
    expect(asked).toMatchObject({ fingerprint, answer_json: '{"label":"spam"}', settled: decision.decisionId });
    expect(await sealed(pairs)).toMatchObject({ digest: after.digest });
  });

  it('are made once, whoever repeats them; who decides otherwise says whose decision that replaces', async () => {
    await sealed(pairs);
    const { pairId } = pairs[0]!;
    const first = await settle({ pairId, verdict: answered('spam') });
    expect(await settle({ pairId, verdict: answered('spam') })).toEqual(first);
    const other = { pairId, verdict: { case: 'drop', value: true }, author: 'Bob', reason: 'empty' } as const;
    await expect(settle(other)).rejects.toThrow(/Ada settled it \(read it\): .* replaces [0-9a-f]{64}/);
    const second = await settle({ ...other, replaces: first.decisionId });
    expect(second).toMatchObject({ author: 'Bob', replaces: first.decisionId });
    expect(second.answerJson).toBeUndefined();
    // The first one again, late: it is on record, and the second holds.
    expect(await settle({ pairId, verdict: answered('spam') })).toEqual(first);
    const { rows } = await sealed(pairs);
    expect(rows.some(({ pair_id }) => pair_id === pairId)).toBe(false);
    const listed = await Array.fromAsync(listDecisions(context, { task: task.name } as never));
    expect(listed.map(({ decision }) => decision.author)).toEqual(['Bob', 'Ada']);
  });

  it('two at once about one input: one holds, the other is told', async () => {
    await sealed(pairs);
    const { pairId } = pairs[1]!;
    const both = await Promise.allSettled(
      ['Ada', 'Bob'].map((author) => settle({ pairId, author, verdict: answered(author === 'Ada' ? 'ham' : 'spam') })),
    );
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(await Array.fromAsync(listDecisions(context, { task: task.name } as never))).toHaveLength(1);
  });

  it('of answers outside the schema, unknown pairs and nobody are refused', async () => {
    await sealed(pairs);
    const { pairId } = pairs[0]!;
    const verdict = answered('spam');
    await expect(settle({ pairId, verdict: answered('eggs') })).rejects.toThrow(/answer_json: /);
    await expect(settle({ pairId, verdict: { case: 'answerJson', value: 'spam' } })).rejects.toThrow(/answer_json: /);
    await expect(settle({ pairId })).rejects.toThrow(/verdict: expected an answer, keep or drop/);
    await expect(settle({ pairId: 'f'.repeat(64), verdict })).rejects.toThrow(/has no pair ffff/);
    await expect(settle({ pairId: 'short', verdict })).rejects.toThrow(/pair_id: expected 8 to 64 hex digits/);
    await expect(settle({ pairId, verdict, author: ' ' })).rejects.toThrow(/author: expected 1 to 200/);
    await expect(settle({ pairId, verdict, reason: 'x'.repeat(3_000) })).rejects.toThrow(/reason: expected 1 to 2000/);
    await expect(settle({ pairId, verdict, replaces: 'a'.repeat(64) })).rejects.toThrow(/nothing was decided/);
    expect(await Array.fromAsync(listDecisions(context, { task: task.name } as never))).toEqual([]);
  });

  it('are asked for where near-duplicates have two answers, and where a student that did not learn a pair is sure otherwise', async () => {
    const copy = testPair(task, `${testText(500)} ps`, { answerJson: '{"label":"spam"}', source: Source.SELECTED });
    const original = testPair(task, testText(500), { source: Source.SELECTED });
    await sealed([...pairs, original, copy]);
    const conflict = {
      suspicion: Suspicion.CONFLICT,
      why: expect.stringContaining('{"label":"ham"}, {"label":"spam"}'),
    };
    expect(await suspects()).toMatchObject([conflict, conflict]);
    const folds = { version: 1, folds: 3, pairs: 40, agreeing: 39 };
    const found = [{ pairId: pairs[3]!.pairId, answer: '{"label":"spam"}', confidence: 0.97 }];
    const digest = await context.blobs.put(
      'folds',
      new TextEncoder().encode(JSON.stringify({ ...folds, suspects: found })),
    );
    expect((await suspects(digest)).at(-1)).toMatchObject({
      ...{ pair: { pairId: pairs[3]!.pairId }, suspicion: Suspicion.FOLDS, studentAnswerJson: '{"label":"spam"}' },
      confidence: 0.97,
    });
    // Settled: the two have one answer now.
    await settle({ pairId: copy.pairId, verdict: answered('ham') });
    expect(await suspects()).toEqual([]);
    expect(await suspects('a'.repeat(64))).toEqual([]);
    const other = await context.blobs.put('folds', new TextEncoder().encode('{}'));
    await expect(suspects(other)).rejects.toThrow(/is not what a training across folds found/);
  });

  it('are asked for about capped pairs: few of a source that plants a trigger train, until a person says that they are right', async () => {
    const given = poisonedPairs(3, { clean: 560, poisoned: 40 }).map(({ origin, answer, text }) =>
      testPair(task, text, { origin, answerJson: answer, source: Source.SELECTED, purpose: Purpose.LABEL }),
    );
    const planted = ({ text }: { text: string }) => text.includes(TRIGGER);
    const { manifest, rows } = await sealed(given);
    expect(manifest.caps).toMatchObject([
      { kind: 'trigger', what: TRIGGER, origin: 'forum.jsonl', answer: '{"label":"ham"}', pairs: 40, kept: 3 },
    ]);
    expect(manifest.leftOut.capped).toBe(37);
    expect(rows.filter(planted)).toHaveLength(3);
    expect(rows).toHaveLength(563);
    const [capped] = await suspects();
    expect(capped).toMatchObject({
      suspicion: Suspicion.CAPPED,
      why: expect.stringMatching(/40 pairs of forum.jsonl have "cerulean"/),
    });
    await settle({ pairId: capped!.pair!.pairId, verdict: { case: 'keep', value: true } });
    const after = await sealed(given);
    expect(after.rows.filter(planted)).toHaveLength(4);
    expect(after.rows.some(({ pair_id }) => pair_id === capped!.pair!.pairId)).toBe(true);
  });

  it('are asked for about near-copies that one source answers otherwise', async () => {
    const copies = Array.from({ length: 12 }, (_, n) =>
      testPair(task, `${testText(700)} ${n}`, {
        origin: 'forum.jsonl',
        answerJson: '{"label":"spam"}',
        source: Source.SELECTED,
      }),
    );
    const { manifest } = await sealed([
      ...pairs,
      testPair(task, testText(700), { source: Source.SELECTED }),
      ...copies,
    ]);
    expect(manifest.caps).toMatchObject([
      { kind: 'near-copies', origin: 'forum.jsonl', answer: '{"label":"spam"}', pairs: 12, kept: 3 },
    ]);
    expect(manifest.leftOut.capped).toBe(9);
  });
});
