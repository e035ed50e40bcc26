import { differenceLowerBound } from '@understudy/student/statistics/paired-difference';
import { randomSource } from '@understudy/student/statistics/random-source';
import { describe, expect, test } from 'vitest';
import { compare, type Given, growthToReplace, incumbentFault, incumbentGate } from './non-inferiority.ts';

const MARGIN = 0.005;
const digest = 'a'.repeat(64);

function drawn(random: () => number, pairs: number, agreement: number, coverage = 1): Given[] {
  return Array.from({ length: pairs }, () => ({ covered: random() < coverage, agrees: random() < agreement }));
}

describe('against the student in service', () => {
  test('what the new one leaves to the teacher is not worse, and what the old one leaves does not count', () => {
    const old: Given[] = [
      { covered: true, agrees: true },
      { covered: true, agrees: false },
      { covered: true, agrees: true },
      { covered: false, agrees: true },
    ];
    const fresh: Given[] = [
      { covered: false, agrees: false },
      { covered: true, agrees: true },
      { covered: true, agrees: false },
      { covered: true, agrees: false },
    ];
    expect(compare(fresh, { digest, answers: old }, 0.03)).toMatchObject({
      pairs: 3,
      onlyNew: 1,
      onlyIncumbent: 1,
      difference: 0,
    });
  });

  test('a clearly better one passes, a worse one does not, and is told why', () => {
    const random = randomSource(1);
    const answers = drawn(random, 2_000, 0.9);
    const better = compare(drawn(random, 2_000, 0.98), { digest, answers }, 0.03);
    expect(incumbentGate(better, MARGIN).passed).toBe(true);
    const worse = compare(drawn(random, 2_000, 0.85), { digest, answers }, 0.03);
    expect(incumbentGate(worse, MARGIN)).toMatchObject({ name: 'incumbent', goal: -MARGIN, passed: false });
    expect(incumbentFault(worse, MARGIN)).toMatch(
      /of the 2000 test pairs that it answers, \d+ get worse and \d+ better; .* -0.50 points/,
    );
  });

  test('too few pairs prove nothing, however alike the two are; a student that answers nothing is no bar', () => {
    const same = drawn(randomSource(2), 100, 1);
    expect(incumbentGate(compare(same, { digest, answers: same }, 0.03), MARGIN).passed).toBe(false);
    const silent = compare(same, { digest, answers: drawn(randomSource(3), 100, 1, 0) }, 0.03);
    expect(incumbentGate(silent, MARGIN)).toMatchObject({ passed: true, measured: null });
  });

  test('is told how many times the pairs would do, and that none would where it is worse', () => {
    const level = 0.0076;
    const enough = (counts: { pairs: number; onlyNew: number; onlyIncumbent: number }) =>
      growthToReplace(counts, MARGIN, level);
    const seen = { pairs: 150, onlyNew: 2, onlyIncumbent: 0 };
    const growth = enough(seen)!;
    expect(growth).toBeGreaterThan(1);
    const grown = { pairs: Math.round(150 * growth), onlyFirst: Math.floor(2 * growth), onlySecond: 0 };
    expect(differenceLowerBound(grown, level)).toBeGreaterThanOrEqual(-MARGIN);
    expect(enough({ pairs: 1_000, onlyNew: 10, onlyIncumbent: 30 })).toBeUndefined();
    expect(enough({ pairs: 0, onlyNew: 0, onlyIncumbent: 0 })).toBeUndefined();
    // Alike to the letter: with an error of at most half a point, that takes some thousand pairs.
    expect(1_000 * enough({ pairs: 1_000, onlyNew: 0, onlyIncumbent: 0 })!).toBeGreaterThan(1_100);
  });

  test('one that is worse by exactly the margin passes no more often than the level says', () => {
    const [seed, looks] = [4, 600];
    const random = randomSource(seed);
    let passed = 0;
    for (let i = 0; i < looks; i += 1) {
      const found = compare(drawn(random, 1_000, 0.955), { digest, answers: drawn(random, 1_000, 0.96) }, 0.05);
      if (incumbentGate(found, MARGIN).passed) passed += 1;
    }
    expect(passed / looks, `seed ${seed}`).toBeLessThan(0.055 + 3 * Math.sqrt((0.05 * 0.95) / looks));
    expect(passed, `seed ${seed}`).toBeGreaterThan(0);
  });
});
