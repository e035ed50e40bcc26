import { randomUUID } from 'node:crypto';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type CallObserved, CallObservedSchema } from '@understudy/contract';
import { sha256Hex } from '@understudy/task';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Database } from '../store/database.ts';
import { databaseKinds, emptyTables, type TestDatabase } from '../testing.ts';
import { rankOf } from './add-up.ts';
import { workload, workloadIds, workloadPairs } from './read-workloads.ts';
import { LIMITS, recordCalls } from './record-calls.ts';

type Change = MessageInitShape<typeof CallObservedSchema>;

const idOf = (name: string) => sha256Hex(`workload ${name}`);

/** A call as a gateway tells it. */
const call = (name: string, input: string, change: Change = {}): CallObserved =>
  create(CallObservedSchema, {
    ...{ task: `w-${idOf(name).slice(0, 16)}`, taskDigest: idOf(name), callId: randomUUID() },
    ...{ upstream: 'http://models/v1', model: 'large', input, output: '{"topic":"bill"}', status: 200 },
    ...{ inputTokens: 10n, outputTokens: 5n, inputPrice: 2, outputPrice: 8, at: { seconds: 1_800_000_000n, nanos: 0 } },
    ...change,
  } as Change);

describe.each(databaseKinds)('workloads in $name', (kind) => {
  describe.skipIf(kind.skip !== undefined)('', () => {
    let started: Awaited<ReturnType<typeof kind.start>>;
    let own: TestDatabase;
    let database: Database;
    beforeAll(async () => {
      started = await kind.start();
      own = await started.newDatabase();
      database = await own.open();
    });
    afterAll(async () => {
      await own[Symbol.asyncDispose]();
      await started[Symbol.asyncDispose]();
    });
    beforeEach(() => emptyTables(database));

    const inputsOf = async (name: string) =>
      (await workloadPairs(database, idOf(name), 0, 100_000)).map(({ pair }) => pair.input);

    test('add up what their calls were, cost and said', async () => {
      const early = { seconds: 1_700_000_000n, nanos: 5_000 };
      await recordCalls(database, [
        call('a', 'one', { system: 'Sort.', schemaJson: '{}' }),
        call('a', 'one', { output: '{"topic":"parcel"}', model: 'larger', at: { seconds: 1_900_000_000n, nanos: 0 } }),
        call('b', 'x'),
      ]);
      const nothing = { input: undefined, output: undefined, inputTokens: undefined, outputTokens: undefined };
      await recordCalls(database, [
        call('a', 'two', { at: early, inputPrice: undefined }),
        call('a', '', { ...nothing, status: 429 }),
        call('a', '', { ...nothing, obstacle: 'conversation' }),
      ]);
      expect(await workload(database, idOf('a'))).toMatchObject({
        ...{ system: 'Sort.', schemaJson: '{}', model: 'larger', upstream: 'http://models/v1' },
        ...{ calls: 5n, failed: 1n, obstructed: 1n, obstacle: 'conversation', unmetered: 1n, unpriced: 1n },
        ...{ inputTokens: 30n, outputTokens: 15n, spentMicroUsd: 120n, inputPrice: 2, outputPrice: 8 },
        ...{ distinctInputs: 2n, distinctOutputs: 2n, keptPairs: 2 },
        ...{ firstAt: early, lastAt: { seconds: 1_900_000_000n } },
      });
      expect(await workload(database, idOf('b'))).toMatchObject({ calls: 1n, keptPairs: 1 });
      expect((await workload(database, idOf('b')))!.system).toBeUndefined();
      expect(await workloadIds(database, '')).toEqual([idOf('a'), idOf('b')]);
      expect(await workloadIds(database, idOf('b').slice(0, 10))).toEqual([idOf('b')]);
      const pairs = await workloadPairs(database, idOf('a'), 0, 10);
      expect(pairs.map(({ pair }) => [pair.input, pair.output, pair.times]).sort()).toEqual([
        ['one', '{"topic":"bill"}', 2],
        ['two', '{"topic":"bill"}', 1],
      ]);
    });

    test('count each call once, however often it is delivered', async () => {
      const calls = Array.from({ length: 20 }, (_, index) => call('a', `input ${index % 7}`));
      await recordCalls(database, calls);
      await recordCalls(database, calls.toReversed());
      await recordCalls(database, [...calls.slice(5), call('a', 'input 1')]);
      expect(await workload(database, idOf('a'))).toMatchObject({ calls: 21n, distinctInputs: 7n, keptPairs: 7 });
      const times = (await workloadPairs(database, idOf('a'), 0, 10)).map(({ pair }) => pair.times);
      expect(times.reduce((sum, one) => sum + one, 0)).toBe(21);
    });

    test('keep a uniform sample of inputs, the same in whatever order they come, and estimate the rest', async () => {
      const limits = { ...LIMITS, pairs: 100, outputs: 50 };
      const total = 600;
      const inputs = Array.from({ length: total }, (_, index) => `input ${index}`);
      for (const [name, order] of [
        ['a', inputs],
        ['b', inputs.toReversed()],
      ] as const)
        for (let from = 0; from < total; from += 200)
          await recordCalls(
            database,
            order.slice(from, from + 200).map((input) => call(name, input, { output: `"${input}"` })),
            limits,
          );
      for (const name of ['a', 'b']) {
        const kept = await inputsOf(name);
        expect(kept.length).toBeGreaterThanOrEqual(80);
        expect(kept.length).toBeLessThanOrEqual(100);
        const lowest = inputs.toSorted((x, y) => rankOf(x) - rankOf(y)).slice(0, kept.length);
        expect(kept).toEqual(lowest);
        const { distinctInputs, distinctOutputs, calls, keptPairs } = (await workload(database, idOf(name)))!;
        expect([calls, keptPairs]).toEqual([600n, kept.length]);
        // At least 80 and 40 kept: standard errors of 11% and 16%.
        expect(Math.abs(Number(distinctInputs) / total - 1)).toBeLessThan(0.45);
        expect(Math.abs(Number(distinctOutputs) / total - 1)).toBeLessThan(0.6);
      }
    });

    test('are bounded in number and in bytes: the most called stay, the largest are halved', async () => {
      const limits = { ...LIMITS, workloads: 5, bytes: 4_000 };
      for (let index = 0; index < 12; index += 1) {
        const often = Array.from({ length: 3 }, (_, turn) => call('often', `${turn} of ${index} ${'x'.repeat(100)}`));
        await recordCalls(database, [...often, call(`once ${index}`, 'y')], limits);
      }
      const ids = await workloadIds(database, '');
      expect(ids).toHaveLength(5);
      expect(ids[0]).toBe(idOf('often'));
      expect(await workload(database, idOf('often'))).toMatchObject({ calls: 36n });
      expect(await workload(database, idOf('once 0'))).toBeUndefined();
      expect(await inputsOf('once 0')).toEqual([]);
      const kept = await inputsOf('often');
      expect(kept.length * 120).toBeLessThan(4_000);
      expect(kept.length).toBeGreaterThan(5);
    });
  });
});
