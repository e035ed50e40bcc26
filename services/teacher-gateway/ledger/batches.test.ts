import { expect, test } from 'vitest';
import { type Batches, paidBy, takenOver, withPart } from './batches.ts';
import { nothing } from './budget.ts';

const limit = { calls: 10, microUsd: 100 };
const reserves = (calls: number, microUsd: number) => ({ reserved: { calls, microUsd }, spent: nothing });
const cost = (calls: number, microUsd: number) => ({ reserved: nothing, spent: { calls, microUsd } });

test('no more is reserved than the limit, in calls and in money, over all parts', () => {
  const one = withPart({}, limit, 'a', reserves(6, 60))!;
  expect(withPart(one, limit, 'b', reserves(5, 10))).toBeUndefined();
  expect(withPart(one, limit, 'b', reserves(1, 41))).toBeUndefined();
  expect(withPart(one, limit, 'b', reserves(4, 40))).toBeDefined();
  expect(withPart(one, limit, 'a', reserves(10, 100))).toBeDefined();
});

test('what was spent is kept, also beyond what was reserved and beyond the limit, and who pays stays the same', () => {
  const two = withPart(withPart({}, limit, 'a', reserves(6, 60))!, limit, 'b', reserves(4, 40))!;
  const paid = takenOver(two, 'run-1')!;
  const over: Batches | undefined = withPart(paid, limit, 'a', cost(6, 61));
  expect(over).toMatchObject({ a: { spent: { calls: 6, microUsd: 61 }, payer: 'run-1' } });
  expect(paidBy(over!, 'run-1')).toEqual({ calls: 10, microUsd: 101 });
  expect(takenOver(over!, 'run-2')).toBeUndefined();
});

test('what is reserved anew is paid by the next run, what is given up by none', () => {
  const paid = takenOver(withPart({}, limit, 'a', reserves(6, 60))!, 'run-1')!;
  const without = withPart(paid, limit, 'a', { reserved: nothing, spent: nothing })!;
  expect(without).toEqual({});
  const again = withPart(without, limit, 'a', reserves(6, 60))!;
  expect(paidBy(takenOver(again, 'run-2')!, 'run-2')).toEqual({ calls: 6, microUsd: 60 });
});
