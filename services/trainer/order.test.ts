import { expect, it } from 'vitest';
import { type Order, seedOf } from './order.ts';

const order = (digest: string): Order => ({
  ...{ task: 'desk', taskDigest: 'd'.repeat(64), runId: 'r', seal: 1 },
  snapshot: { digest, fingerprint: 'f', trainPairs: 1, devPairs: 1, testPairs: 1 },
});

it("a seed is the snapshot's, whatever the run, and moves with the task's", () => {
  const digest = `0123456789ab${'c'.repeat(52)}`;
  expect(seedOf(order(digest), 1)).toBe(0x0123456789ab);
  expect(seedOf({ ...order(digest), runId: 'other', seal: 7 }, 1)).toBe(0x0123456789ab);
  expect(seedOf(order(digest), 5)).toBe(0x0123456789ab + 4);
  expect(Number.isSafeInteger(seedOf(order('f'.repeat(64)), 2 ** 31 - 1))).toBe(true);
});
