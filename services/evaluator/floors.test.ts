import { randomSource } from '@understudy/student/statistics/random-source';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { floorOf, floorsFault, floorsGate, measureFloors, type Placed } from './floors.ts';

const goal = { agreement: 0.95, confidence: 0.95 };

/** Answers of classes with so many pairs, each agreeing as often as told. */
function placed(seed: number, classes: Record<string, readonly [pairs: number, agreement: number]>): Placed[] {
  const random = randomSource(seed);
  return Object.entries(classes).flatMap(([name, [pairs, agreement]]) =>
    Array.from({ length: pairs }, () => ({
      covered: true,
      agrees: random() < agreement,
      class: name,
      origin: 'mail.jsonl',
      characters: Math.floor(20 + 200 * random()),
    })),
  );
}

describe('floors', () => {
  test('one bad class fails a student that is good on average, and is named', () => {
    const report = measureFloors(placed(1, { a: [900, 0.99], b: [100, 0.6], rare: [3, 0.3] }), goal);
    expect(floorsGate(report)).toMatchObject({ name: 'floors', goal: 0.85, passed: false });
    expect(floorsFault(report)).toMatch(/^below the floor of 85\.00%: answers of "b" \(\d+ of 100\)/);
    expect(report.parts.find(({ name }) => name === 'rare')).toMatchObject({ standing: 'undetermined', pairs: 3 });
  });

  test('one bad source fails a student that is good on average; few pairs of one prove nothing; one source alone is no part', () => {
    const answers = placed(3, { a: [1_000, 0.99] }).map((answer, i) => {
      const origin = i % 10 === 0 ? 'branch.csv' : i < 4 ? 'new.csv' : 'mail.jsonl';
      return { ...answer, origin, agrees: answer.agrees && (origin === 'mail.jsonl' || i % 20 < 2) };
    });
    const report = measureFloors(answers, goal);
    const sources = report.parts.filter(({ by }) => by === 'source');
    expect(sources.map(({ name, standing }) => [name, standing])).toEqual([
      ['mail.jsonl', 'above'],
      ['branch.csv', 'below'],
      ['new.csv', 'undetermined'],
    ]);
    expect(floorsFault(report)).toMatch(/^below the floor of 85\.00%: inputs from "branch\.csv" \(\d+ of 100\)$/);
    const alone = measureFloors(placed(3, { a: [1_000, 0.99] }), goal);
    expect(alone.parts.some(({ by }) => by === 'source')).toBe(false);
  });

  test('sources without number are a bounded number of parts', () => {
    const answers = placed(4, { a: [500, 0.99] }).map((answer, i) => ({ ...answer, origin: `source ${i % 100}` }));
    const sources = measureFloors(answers, goal).parts.filter(({ by }) => by === 'source');
    expect(sources).toHaveLength(33);
    expect(sources.at(-1)).toMatchObject({ name: 'other sources', pairs: 500 - 32 * 5 });
  });

  test('long texts count as a part', () => {
    const answers = placed(2, { a: [900, 0.99] }).map((answer) => ({
      ...answer,
      agrees: answer.agrees && (answer.characters < 180 || answer.characters % 2 === 0),
    }));
    const report = measureFloors(answers, goal);
    const lengths = report.parts.filter(({ by }) => by === 'length');
    expect(lengths.map(({ pairs }) => pairs).reduce((a, b) => a + b, 0)).toBe(900);
    expect(lengths.map(({ standing }) => standing)).toEqual(['above', 'above', 'below']);
    expect(floorsFault(report)).toMatch(/texts of \d+ characters and more/);
  });

  test('the floor is the task’s, or ten points below its goal', () => {
    expect(floorOf(goal)).toBeCloseTo(0.85);
    expect(floorOf({ ...goal, floor: 0.5 })).toBe(0.5);
    expect(floorOf({ ...goal, agreement: 0.05 })).toBe(0);
  });

  test('a good student fails in at most one of twenty tests, however many classes there are', () => {
    const [seed, tests] = [40, 300];
    const classes = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`c${i}`, [10 + i, 0.9] as const]));
    let failed = 0;
    for (let i = 0; i < tests; i += 1)
      if (!floorsGate(measureFloors(placed(seed + i, classes), goal)).passed) failed += 1;
    expect(failed / tests, `seeds from ${seed}`).toBeLessThan(0.05);
  });

  test('whatever there is, every pair is in one part of each kind', () => {
    const answer = fc.record({
      covered: fc.boolean(),
      agrees: fc.boolean(),
      class: fc.constantFrom('a', 'b', undefined),
      characters: fc.nat(30),
      origin: fc.constantFrom('', 'mail.jsonl'),
    });
    fc.assert(
      fc.property(fc.array(answer, { maxLength: 60 }), (answers) => {
        const { parts } = measureFloors(answers, goal);
        const sum = (by: string) =>
          parts.filter((part) => part.by === by).reduce((total, { pairs }) => total + pairs, 0);
        expect(sum('length')).toBe(answers.length);
        expect(sum('class')).toBe(answers.filter((one) => one.class !== undefined).length);
      }),
    );
  });
});
