import { afterAll, beforeAll, expect, test } from 'vitest';
import { type TestBus, testBus } from '../testing.ts';
import { compareAndSet, readKey } from './compare-and-set.ts';

let server: TestBus;
beforeAll(async () => {
  server = await testBus();
});
afterAll(() => server[Symbol.asyncDispose]());

const increment = (current: string | undefined) => {
  const next = Number(current ?? 0) + 1;
  return { write: String(next), result: next };
};

test('writers that race each get a turn of their own', async () => {
  const buckets = await Promise.all(Array.from({ length: 12 }, () => server.bus.bucket('looks')));
  const results = await Promise.all(buckets.map((bucket) => compareAndSet(bucket, 'raced', increment)));
  expect(results.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, index) => index + 1));
  expect(await readKey(buckets[0]!, 'raced')).toBe('12');
});

test('a decision without a write leaves the key alone', async () => {
  const bucket = await server.bus.bucket('looks');
  expect(await compareAndSet(bucket, 'untouched', () => ({ result: 'seen' }))).toBe('seen');
  expect(await readKey(bucket, 'untouched')).toBeUndefined();
});

test('a deleted key counts as empty and can be written again', async () => {
  const bucket = await server.bus.bucket('looks');
  await compareAndSet(bucket, 'deleted', increment);
  await bucket.delete('deleted');
  expect(await readKey(bucket, 'deleted')).toBeUndefined();
  expect(await compareAndSet(bucket, 'deleted', increment)).toBe(1);
});

test('what a decision throws reaches the caller, and nothing is written', async () => {
  const bucket = await server.bus.bucket('looks');
  const refuse = () => {
    throw new RangeError('no');
  };
  await expect(compareAndSet(bucket, 'refused', refuse)).rejects.toThrow(RangeError);
  expect(await readKey(bucket, 'refused')).toBeUndefined();
});
