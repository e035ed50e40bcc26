import { create } from '@bufbuild/protobuf';
import { PairSchema } from '@understudy/contract';
import { expect, test } from 'vitest';
import { callsOf } from './import-pairs.ts';
import { IMPORT_CHARACTERS, IMPORT_PAIRS } from './limits.ts';

test('pairs are given to the pair store in calls that it takes, whatever their size, none lost', () => {
  const pairsOf = (count: number, characters: number) =>
    Array.from({ length: count }, (_, i) => create(PairSchema, { pairId: String(i), text: 'x'.repeat(characters) }));
  for (const [count, characters] of [
    [0, 1],
    [1_201, 10],
    [40, 250_000],
    [3, IMPORT_CHARACTERS + 1],
  ] as const) {
    const pairs = pairsOf(count, characters);
    const calls = callsOf(pairs);
    expect(calls.flat()).toEqual(pairs);
    for (const call of calls) {
      expect(call.length).toBeLessThanOrEqual(IMPORT_PAIRS);
      expect(call.length === 1 || call.length * characters <= IMPORT_CHARACTERS).toBe(true);
    }
  }
});
