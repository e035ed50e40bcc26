import { expect, test } from 'vitest';
import { InTurn } from './in-turn.ts';

test('work is done one after the other, whatever fails', async () => {
  const turn = new InTurn();
  const gate = Promise.withResolvers<void>();
  const seen: string[] = [];
  const first = turn.do(async () => {
    await gate.promise;
    seen.push('first');
    throw new Error('broken');
  });
  const second = turn.do(async () => seen.push('second'));
  seen.push('both asked for');
  gate.resolve();
  await expect(first).rejects.toThrow('broken');
  expect(await second).toBe(3);
  expect(seen).toEqual(['both asked for', 'first', 'second']);
});
