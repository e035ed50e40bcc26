/** What is recorded, whatever is repeated, reordered or raced. The same suite over PGlite and PostgreSQL. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  DeclineReason,
  HeadDistributionSchema,
  type Pair,
  PairSchema,
  Purpose,
  Source,
  Split,
  UsageSchema,
} from '@understudy/contract';
import { compileTask } from '@understudy/task';
import { testText } from '@understudy/task/grouping/testing';
import { testTask } from '@understudy/task/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Groups } from '../grouping/groups.ts';
import type { KnownTask } from '../tasks.ts';
import { databaseKinds, emptyTables, type TestDatabase, testPair } from '../testing.ts';
import type { Database } from './database.ts';
import { findPairs } from './find.ts';
import { type Answer, type Decline, record } from './record.ts';
import { runStats, taskStats } from './stats.ts';

const task = testTask();
const known: KnownTask = { task, compiled: compileTask(task), exampleTexts: [] };
const answer = (pair: Pair, runId = 'run-1', cached = false): Answer => ({ pair, asked: { runId, cached } });
const decline = (promptId: string, runId = 'run-1'): Decline => ({
  runId,
  promptId,
  reason: DeclineReason.BUDGET,
  detail: 'spent',
  usage: create(UsageSchema, { calls: 2, spentMicroUsd: 5n }),
});

const overTheWire = (pair: Pair) => fromBinary(PairSchema, toBinary(PairSchema, pair));

/** All that is stored, in one order, without what depends on when it was stored. */
const everything = async (database: Database) => ({
  prompts: await database.query(
    `select encode(prompt_id, 'hex') as id, encode(group_id, 'hex') as group_id, split, weight, input_json from prompts order by 1`,
  ),
  pairs: await database.query(`select encode(pair_id, 'hex') as id, text, answer_json, soft from pairs order by 1`),
  outcomes: await database.query(
    `select run_id, encode(prompt_id, 'hex') as id, encode(pair_id, 'hex') as pair_id, decline_reason from outcomes order by 1, 2`,
  ),
  runs: await database.query('select * from runs order by run_id'),
});

describe.each(databaseKinds)('pairs in $name', ({ skip, shared, start }) => {
  if (skip) return it.skip(skip);
  let server: Awaited<ReturnType<typeof start>>;
  let place: TestDatabase;
  let database: Database;
  let groups: Groups;
  const put = (answers: Answer[], declines: Decline[] = []) => record(database, groups, known, answers, declines);

  beforeAll(async () => {
    server = await start();
    place = await server.newDatabase();
    database = await place.open();
  });
  afterAll(async () => {
    await place?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    await emptyTables(database);
    groups = new Groups();
  });

  it('come back as they were given', async () => {
    const pair = testPair(task, 'snowman ☃, quote ", backslash \\, new line\n and tab\t, {"json": [1]}', {
      referenceJson: '{"label":"spam"}',
      weight: 3,
      source: Source.SELECTED,
      soft: [
        create(HeadDistributionSchema, { head: 'guest.name', probabilities: [0.1, 0.9] }),
        create(HeadDistributionSchema, { head: 'tags', probabilities: [1 / 3, 1e-20, 0.123456789] }),
      ],
    });
    await put([answer(pair), answer(testPair(task, testText(2)))]);
    const [found] = await findPairs(database, task.name, [pair.pairId]);
    expect(found && overTheWire(found)).toEqual(overTheWire(pair));
    expect(await findPairs(database, 'another-task', [pair.pairId])).toEqual([]);
    expect(await findPairs(database, task.name, ['0'.repeat(64)])).toEqual([]);
  });

  it('are there once, however often and in whatever order they are delivered', async () => {
    const answers = Array.from({ length: 40 }, (_, n) => answer(testPair(task, testText(n))));
    const declines = answers.slice(0, 3).map(({ pair }) => decline(pair.promptId, 'run-2'));
    await put(answers, declines);
    const before = await everything(database);
    await put([...answers.toReversed(), ...answers], declines);
    groups = new Groups();
    await put(answers.slice(5), [...declines, ...declines]);
    expect(await everything(database)).toEqual(before);
    expect(before.pairs.length).toBe(40);
    expect(before.outcomes.length).toBe(43);
  });

  it('have one outcome in a run: the first', async () => {
    const [first, second] = [testPair(task, testText(1)), testPair(task, testText(2))];
    await put([answer(first)], [decline(second.promptId)]);
    await put([answer(second)], [decline(first.promptId)]);
    await put([answer(first, 'run-2', true)], []);
    const { outcomes } = await everything(database);
    const byPrompt = (runId: string) =>
      new Map(outcomes.filter((row) => row.run_id === runId).map((row) => [row.id, row]));
    expect(byPrompt('run-1').get(first.promptId)).toMatchObject({ pair_id: first.pairId, decline_reason: null });
    expect(byPrompt('run-1').get(second.promptId)).toMatchObject({
      pair_id: null,
      decline_reason: DeclineReason.BUDGET,
    });
    expect(byPrompt('run-2').get(first.promptId)).toMatchObject({ pair_id: first.pairId });
    expect(await findPairs(database, task.name, [first.pairId, second.pairId])).toEqual([
      expect.objectContaining({ pairId: first.pairId }),
    ]);
  });

  it('of a prompt that was declined are kept where they had been paid for before, or another run asked', async () => {
    const [found, imported, elsewhere] = [1, 2, 3].map((n) => testPair(task, testText(n))) as [Pair, Pair, Pair];
    await put(
      [],
      [found, imported, elsewhere].map(({ promptId }) => decline(promptId)),
    );
    const late = await put([answer(found, 'run-1', true), { pair: imported }, answer(elsewhere, 'run-2')]);
    expect(late).toMatchObject({ late: 0 });
    expect((await everything(database)).pairs).toHaveLength(3);
    expect(await put([answer(elsewhere)])).toMatchObject({ late: 1 });
  });

  it('keep the split that their prompt got first, for every fingerprint and run', async () => {
    const pairs = Array.from({ length: 60 }, (_, n) => testPair(task, testText(n)));
    await put(pairs.map((pair) => answer(pair)));
    const { prompts } = await everything(database);
    groups = new Groups();
    const others = pairs.map(({ text }) =>
      testPair(task, text, { fingerprint: 'f'.repeat(64), source: Source.SELECTED }),
    );
    await put(others.map((pair) => answer(pair, 'run-2')));
    const after = await everything(database);
    expect(after.prompts).toEqual(prompts);
    expect(after.pairs.length).toBe(120);
    expect(new Set(prompts.map(({ split }) => split))).toEqual(new Set([Split.TRAIN, Split.DEV, Split.TEST]));
  });

  it('share the group and split of their near-duplicates, also after a restart', async () => {
    await put([answer(testPair(task, testText(1)))]);
    groups = new Groups();
    await put([answer(testPair(task, `${testText(1)} ps`)), answer(testPair(task, testText(1).toUpperCase()))]);
    const { prompts } = await everything(database);
    expect(prompts.length).toBe(3);
    expect(new Set(prompts.map(({ group_id, split }) => `${group_id} ${split}`)).size).toBe(1);
  });

  it('weigh as much as the largest report said, whatever its order', async () => {
    const weighing = (weight: number) => answer(testPair(task, testText(1), { weight }));
    await put([weighing(2), weighing(5), weighing(3)]);
    await put([weighing(4)]);
    await put([weighing(7)]);
    await put([weighing(0xffff_ffff)]);
    expect((await everything(database)).prompts).toMatchObject([{ weight: 2 ** 31 - 1 }]);
  });

  it("of live traffic train only, and are nobody's outcome", async () => {
    const pairs = Array.from({ length: 40 }, (_, n) =>
      testPair(task, testText(n), { purpose: Purpose.SERVE, source: Source.TRAFFIC }),
    );
    await put(pairs.map((pair) => ({ pair })));
    const { prompts, outcomes } = await everything(database);
    expect(new Set(prompts.map(({ split }) => split))).toEqual(new Set([Split.TRAIN]));
    expect(outcomes).toEqual([]);
  });

  it('are counted, per run and per task', async () => {
    const pairs = Array.from({ length: 50 }, (_, n) => testPair(task, n < 48 ? testText(n) : `${testText(0)} ${n}`));
    await put(
      pairs.slice(0, 30).map((pair) => answer(pair)),
      [decline('a'.repeat(64)), decline('b'.repeat(64))],
    );
    await put(pairs.map((pair, n) => answer(pair, 'run-2', n < 30)));
    const inSplit = async (split: Split, limit: number) =>
      (await everything(database)).prompts.filter(
        (row) => row.split === split && pairs.slice(0, limit).some(({ promptId }) => promptId === row.id),
      ).length;
    const run1 = await runStats(database, 'run-1');
    expect(run1).toEqual({
      answered: 30,
      declined: 2,
      cached: 0,
      declinesByReason: { BUDGET: 2 },
      spentMicroUsd: 220n,
      teacherCalls: 34,
      teacherMedianLatencyMs: 1.5,
      pairs: 30,
      groups: 30,
      trainPairs: await inSplit(Split.TRAIN, 30),
      devPairs: await inSplit(Split.DEV, 30),
      testPairs: await inSplit(Split.TEST, 30),
      quarantinedPairs: 0,
    });
    const run2 = await runStats(database, 'run-2');
    expect(run2).toMatchObject({ answered: 50, cached: 30, spentMicroUsd: 140n, teacherCalls: 20, groups: 48 });
    const all = await taskStats(database, task.name);
    expect(all).toMatchObject({ answered: 80, declined: 2, cached: 30, spentMicroUsd: 360n, pairs: 50, groups: 48 });
    expect(all.trainPairs + all.devPairs + all.testPairs).toBe(50);
    expect(await runStats(database, 'no-such-run')).toMatchObject({ answered: 0, pairs: 0, teacherMedianLatencyMs: 0 });
    expect(await taskStats(database, 'no-such-task')).toMatchObject({ answered: 0, pairs: 0 });
  });

  it('of a batch that fails leave nothing behind, not even in memory', async () => {
    const good = testPair(task, testText(1));
    await expect(put([answer(good), answer(testPair(task, testText(2), { answerJson: 'a\0b' }))])).rejects.toThrow();
    expect((await everything(database)).prompts).toEqual([]);
    await put([answer(good)]);
    expect((await everything(database)).prompts.length).toBe(1);
  });

  it.runIf(shared)('agree when several instances race', async () => {
    const instances = await Promise.all(
      [1, 2, 3].map(async () => ({ database: await place.open(), groups: new Groups() })),
    );
    // Each instance gets the same pairs in another order, near-duplicates of one another spread over all of them.
    const texts = Array.from({ length: 240 }, (_, n) => (n % 2 === 0 ? testText(n) : `${testText(n - 1)} ps`));
    const answers = texts.map((text) => answer(testPair(task, text)));
    const racing = instances.map(async (instance, i) => {
      const mine = i === 1 ? answers.toReversed() : [...answers.slice(i * 60), ...answers.slice(0, i * 60)];
      for (let from = 0; from < mine.length; from += 20) {
        await record(instance.database, instance.groups, known, mine.slice(from, from + 20), []);
      }
    });
    await Promise.all(racing);
    const { prompts, pairs, outcomes } = await everything(database);
    expect([prompts.length, pairs.length, outcomes.length]).toEqual([240, 240, 240]);
    expect(await runStats(database, 'run-1')).toMatchObject({ answered: 240, groups: 120 });
    expect(new Set(prompts.map(({ group_id }) => group_id)).size).toBe(120);
    const splitsOfGroup = new Map<unknown, Set<unknown>>();
    for (const { group_id, split } of prompts)
      splitsOfGroup.set(group_id, (splitsOfGroup.get(group_id) ?? new Set()).add(split));
    expect([...splitsOfGroup.values()].every((splits) => splits.size === 1)).toBe(true);
  });
});
