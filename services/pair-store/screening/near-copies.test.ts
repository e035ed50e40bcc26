import { expect, test } from 'vitest';
import { type NearCopies, suspiciousCopies } from './near-copies.ts';

const copies = (groupId: string, origin: string, answer: string, pairs: number): NearCopies => ({
  ...{ groupId, origin, answer },
  pairIds: Array.from({ length: pairs }, (_, n) => `${groupId}${origin}${answer}${n}`),
});

test('copies are suspicious where one source answers otherwise than the others do', () => {
  const flood = copies('g', 'forum', 'spam', 20);
  const one = copies('g', 'mail', 'ham', 1);
  expect(suspiciousCopies([flood, one])).toEqual([flood, one]);
  expect(suspiciousCopies([one, copies('g', 'forum', 'ham', 20), flood])).toEqual([flood]);
  expect(suspiciousCopies([flood, copies('h', 'mail', 'ham', 3)])).toEqual([]);
  expect(suspiciousCopies([])).toEqual([]);
});
