import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { chanceOfSoFew, upperBound } from './clopper-pearson.ts';
import { type Part, standingsOf } from './floors.ts';
import { holm } from './holm.ts';
import { randomSource } from './random-source.ts';

const share = fc.double({ min: 0, max: 1, noNaN: true });

describe('chance of so few', () => {
  test('is the sum of the binomial terms', () => {
    const terms = (n: number, p: number) => {
      const found = [(1 - p) ** n];
      for (let k = 0; k < n; k += 1) found.push((found[k]! * (n - k) * p) / ((k + 1) * (1 - p)));
      return found;
    };
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60 }),
        fc.double({ min: 0.01, max: 0.99, noNaN: true }),
        fc.nat(),
        (n, p, draw) => {
          const k = draw % (n + 1);
          const sum = terms(n, p)
            .slice(0, k + 1)
            .reduce((a, b) => a + b, 0);
          expect(chanceOfSoFew(k, n, p)).toBeCloseTo(sum, 9);
        },
      ),
    );
  });

  test('is below a level exactly where the upper bound at it is below the share', () => {
    const counts = fc.integer({ min: 1, max: 400 }).chain((n) => fc.tuple(fc.nat(n), fc.constant(n)));
    fc.assert(
      fc.property(counts, fc.double({ min: 0.05, max: 0.99, noNaN: true }), ([k, n], p) => {
        const bound = upperBound(k, n, 0.03);
        if (Math.abs(bound - p) > 1e-6) expect(chanceOfSoFew(k, n, p) < 0.03).toBe(bound < p);
      }),
    );
  });

  test('without trials, at 0 and at 1', () => {
    expect(chanceOfSoFew(0, 0, 0.9)).toBe(1);
    expect(chanceOfSoFew(3, 9, 0)).toBe(1);
    expect(chanceOfSoFew(8, 9, 1)).toBe(0);
    expect(chanceOfSoFew(9, 9, 1)).toBe(1);
    expect(() => chanceOfSoFew(1, 2, 1.5)).toThrow(RangeError);
  });
});

describe('Holm', () => {
  test('lies between the values themselves and Bonferroni, in the same order', () => {
    fc.assert(
      fc.property(fc.array(share, { minLength: 1, maxLength: 20 }), (values) => {
        const adjusted = holm(values);
        for (const [i, value] of values.entries()) {
          expect(adjusted[i]).toBeGreaterThanOrEqual(value);
          expect(adjusted[i]).toBeLessThanOrEqual(Math.min(1, value * values.length));
          for (const [j, other] of values.entries())
            if (value < other) expect(adjusted[i]).toBeLessThanOrEqual(adjusted[j]!);
        }
      }),
    );
  });

  test('a worked example', () => {
    expect(holm([0.04, 0.01, 0.03])).toEqual([0.06, 0.03, 0.06]);
    expect(holm([])).toEqual([]);
  });
});

describe('floors', () => {
  const standings = (parts: Part[], floor = 0.85) => standingsOf(parts, floor, 0.05).map(({ standing }) => standing);

  test('call a part neither fine nor bad for which there are too few pairs', () => {
    expect(
      standings([
        { pairs: 300, agreeing: 295 },
        { pairs: 300, agreeing: 210 },
        { pairs: 3, agreeing: 1 },
        { pairs: 5, agreeing: 5 },
        { pairs: 0, agreeing: 0 },
      ]),
    ).toEqual(['above', 'below', 'undetermined', 'undetermined', 'undetermined']);
  });

  test('what one part would fail for alone may be chance among a hundred', () => {
    const suspect = { pairs: 20, agreeing: 13 };
    expect(standings([suspect])).toEqual(['below']);
    const many = Array.from({ length: 99 }, () => ({ pairs: 20, agreeing: 18 }));
    expect(standings([suspect, ...many])[0]).toBe('undetermined');
  });

  test('no part is ever both, and a floor of 0 or 1 does not break', () => {
    const part = fc
      .integer({ min: 0, max: 50 })
      .chain((pairs) => fc.record({ pairs: fc.constant(pairs), agreeing: fc.nat(pairs) }));
    fc.assert(
      fc.property(fc.array(part, { maxLength: 8 }), share, (parts, floor) => {
        for (const { belowP, aboveP } of standingsOf(parts, floor, 0.05))
          expect(Math.max(belowP, aboveP)).toBeGreaterThan(0.05);
      }),
    );
    expect(standings([{ pairs: 100, agreeing: 0 }], 0)).not.toContain('below');
    expect(standings([{ pairs: 100, agreeing: 100 }], 1)).toEqual(['undetermined']);
  });

  test('thirty classes exactly at the floor: in at most one of twenty tests is any called below', () => {
    const [seed, tests] = [21, 2_000];
    const random = randomSource(seed);
    const draw = (pairs: number): Part => ({
      pairs,
      agreeing: Array.from({ length: pairs }, random).filter((u) => u < 0.85).length,
    });
    let wrong = 0;
    for (let i = 0; i < tests; i += 1) {
      if (standings(Array.from({ length: 30 }, (_, size) => draw(10 + size))).includes('below')) wrong += 1;
    }
    expect(wrong / tests, `seed ${seed}`).toBeLessThan(0.05 + 3 * Math.sqrt((0.05 * 0.95) / tests));
    expect(wrong, `seed ${seed}`).toBeGreaterThan(0);
  });
});
