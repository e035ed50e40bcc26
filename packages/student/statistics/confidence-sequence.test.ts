import fc from 'fast-check';
import { expect, test } from 'vitest';
import { evidenceAbove, evidenceBelow, lowerBoundAtAllTimes, upperBoundAtAllTimes } from './confidence-sequence.ts';
import { randomSource } from './random-source.ts';

const level = 0.05;

test.each([0.5, 0.9, 0.97])(
  'looked at after every one of 1,000 outcomes, a true share of %d is ruled out in at most 5%',
  (share) => {
    const random = randomSource(11);
    const paths = 600;
    let [above, below] = [0, 0];
    for (let path = 0; path < paths; path += 1) {
      let successes = 0;
      let [wasAbove, wasBelow] = [false, false];
      for (let trials = 1; trials <= 1_000 && !(wasAbove && wasBelow); trials += 1) {
        if (random() < share) successes += 1;
        wasAbove ||= evidenceAbove(successes, trials, share) >= 1 / level;
        wasBelow ||= evidenceBelow(successes, trials, share) >= 1 / level;
      }
      above += wasAbove ? 1 : 0;
      below += wasBelow ? 1 : 0;
    }
    // Three standard errors of 600 draws at 5% are 2.7 points.
    expect(above / paths).toBeLessThan(level + 0.027);
    expect(below / paths).toBeLessThan(level + 0.027);
  },
);

test('with a mean outcome at the share, the evidence does not grow, however many came before', () => {
  const share = fc.double({ min: 0.01, max: 0.99, noNaN: true });
  fc.assert(
    fc.property(share, fc.nat(50), fc.nat(50), (q, yes, no) => {
      const now = evidenceAbove(yes, yes + no, q);
      const next = q * evidenceAbove(yes + 1, yes + no + 1, q) + (1 - q) * evidenceAbove(yes, yes + no + 1, q);
      expect(next / now).toBeCloseTo(1, 9);
    }),
  );
});

test('bounds enclose the measured share and close in on it', () => {
  expect([lowerBoundAtAllTimes(0, 0, level), upperBoundAtAllTimes(0, 0, level)]).toEqual([0, 1]);
  const bounds = (n: number) => [lowerBoundAtAllTimes(n * 0.97, n, level), upperBoundAtAllTimes(n * 0.97, n, level)];
  const [few, many] = [bounds(100), bounds(10_000)] as [number[], number[]];
  expect(few[0]).toBeLessThan(many[0]!);
  expect(many[0]).toBeGreaterThan(0.96);
  expect(many[0]).toBeLessThan(0.97);
  expect(many[1]).toBeGreaterThan(0.97);
  expect(many[1]).toBeLessThan(0.98);
  expect(few[1]).toBeGreaterThan(many[1]!);
  expect(() => lowerBoundAtAllTimes(3, 2, level)).toThrow(RangeError);
});
