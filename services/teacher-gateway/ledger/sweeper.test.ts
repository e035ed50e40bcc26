import { testBus } from '@understudy/service/testing';
import { expect, test } from 'vitest';
import { nothing, parseBudget } from './budget.ts';
import { Sweeper } from './sweeper.ts';

test('budgets are forgotten when they are old, nothing is leased, and they were watched unchanged for long', async () => {
  await using bus = await testBus();
  const bucket = await bus.bus.bucket('ledger');
  const over = JSON.stringify({ ...parseBudget(undefined), settled: { calls: 3, microUsd: 5 } });
  const lease = { calls: 1, microUsd: 0, seq: 1, livesMs: 9 };
  const leased = JSON.stringify({ ...parseBudget(undefined), settled: nothing, leases: { a: lease } });
  await bucket.put('run.a.old', over);
  await bucket.put('run.a.leased', leased);
  await bucket.put('run.a.changing', over);
  await bucket.put('live.a.2020-01-01', over);
  await bucket.put('rate.a', '{}');
  let nowMs = 0;
  const sweeper = new Sweeper(bucket, bus.telemetry.log, { keepMs: 0, observeMs: 1_000, monotonicMs: () => nowMs });
  // A clock of the server that has jumped a month ahead makes everything look old: that alone removes nothing.
  expect(await sweeper.sweep()).toBe(0);
  nowMs = 999;
  expect(await sweeper.sweep()).toBe(0);
  await bucket.put('run.a.changing', over);
  nowMs = 1_000;
  expect(await sweeper.sweep()).toBe(2);
  const left: string[] = [];
  for await (const key of await bucket.keys()) left.push(key);
  expect(left.toSorted()).toEqual(['rate.a', 'run.a.changing', 'run.a.leased', 'swept']);
  const young = new Sweeper(bucket, bus.telemetry.log, { keepMs: 60_000, observeMs: 0, monotonicMs: () => nowMs });
  expect(await young.sweep()).toBe(0);
  expect(await young.sweep()).toBe(0);
});

test('a batch is kept while it has reserved something, while nobody has paid it, and while its run is kept', async () => {
  await using bus = await testBus();
  const bucket = await bus.bus.bucket('ledger');
  const spent = { calls: 3, microUsd: 5 };
  const part = { reserved: nothing, spent, payer: 'run.a.old' };
  const over = JSON.stringify({ ...parseBudget(undefined), settled: spent });
  await bucket.put('run.a.old', over);
  await bucket.put('batch.a.over', JSON.stringify({ one: part, two: part }));
  await bucket.put('batch.a.unpaid', JSON.stringify({ one: part, two: { reserved: nothing, spent } }));
  await bucket.put('batch.a.running', JSON.stringify({ one: { ...part, reserved: spent } }));
  let nowMs = 0;
  const sweeper = new Sweeper(bucket, bus.telemetry.log, { keepMs: 0, observeMs: 1_000, monotonicMs: () => nowMs });
  const left = async () => (await Array.fromAsync(await bucket.keys())).filter((key) => key !== 'swept').toSorted();
  expect(await sweeper.sweep()).toBe(0);
  nowMs = 999;
  expect(await sweeper.sweep()).toBe(0);
  expect(await left()).toEqual(['batch.a.over', 'batch.a.running', 'batch.a.unpaid', 'run.a.old']);
  nowMs = 1_000;
  expect(await sweeper.sweep(), 'the run goes first, and with it what it paid').toBe(2);
  expect(await left()).toEqual(['batch.a.running', 'batch.a.unpaid']);
  nowMs = 9_000;
  expect(await sweeper.sweep()).toBe(0);
});
