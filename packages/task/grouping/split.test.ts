import { Split } from '@understudy/contract';
import { expect, it } from 'vitest';
import { sha256Hex } from '../canonical.ts';
import { splitOf } from './split.ts';

const groups = Array.from({ length: 20_000 }, (_, n) => sha256Hex(`group ${n}`));

it('gives each split its share', () => {
  const splits = groups.map((group) => splitOf('t', group, { dev: 0.1, test: 0.2 }));
  const share = (split: Split) => splits.filter((one) => one === split).length / groups.length;
  // Three standard errors of a share of 20,000.
  expect(Math.abs(share(Split.TEST) - 0.2)).toBeLessThan(0.009);
  expect(Math.abs(share(Split.DEV) - 0.1)).toBeLessThan(0.007);
  expect(share(Split.TRAIN)).toBeCloseTo(1 - share(Split.TEST) - share(Split.DEV), 10);
});

it('splits two tasks independently', () => {
  const both = groups.filter((group) =>
    ['a', 'b'].every((task) => splitOf(task, group, { dev: 0.1, test: 0.2 }) === Split.TEST),
  );
  expect(Math.abs(both.length / groups.length - 0.04)).toBeLessThan(0.005);
});

it('stays the same over versions of this code: a test pair must never become a training pair', () => {
  expect(groups.slice(0, 12).map((group) => splitOf('t', group, { dev: 0.1, test: 0.2 }))).toMatchInlineSnapshot(`
    [
      2,
      1,
      1,
      1,
      1,
      1,
      1,
      1,
      1,
      3,
      3,
      1,
    ]
  `);
});
