import { lowerBound } from '@understudy/student/statistics/clopper-pearson';
import { outputPlan } from '@understudy/task';
import { labelSchema } from '@understudy/task/testing';
import { describe, expect, test } from 'vitest';
import type { Answer } from './answers.ts';
import { measureCosts, measureTest, quantile, rankingOf } from './measure.ts';

/** teacher, student, covered, reference, weight */
type Row = [number, number, boolean, number?, number?];

const LABELS = ['a', 'b', 'c'];
const output = outputPlan(labelSchema(LABELS));
const json = (label: number) => JSON.stringify({ label: LABELS[label] });

const answersOf = (rows: Row[]): Answer[] =>
  rows.map(([label, predicted, covered, reference, weight = 1], index) => ({
    pair: {
      promptId: String(index),
      inputJson: '{}',
      text: '',
      origin: '',
      answer: json(label),
      label: LABELS[label],
      weight,
      reference: reference === undefined ? undefined : json(reference),
      teacherLatencyMs: 10 * (index + 1),
      teacherUsd: 0.001,
    },
    answer: json(predicted),
    heads: { label: predicted === label },
    right: reference === undefined ? undefined : { student: predicted === reference, teacher: label === reference },
    confidence: covered ? 0.9 : 0.6,
    covered,
    agrees: predicted === label,
  }));

const facts = { output, goalAgreement: 0.5, look: 1, level: 0.03, pairsSeenBefore: 0 };
const measure = (answers: readonly Answer[], plan = output) =>
  measureTest(answers, { ...facts, output: plan, ranking: rankingOf(answers) });

describe('test figures', () => {
  const answers = answersOf([
    [0, 0, true, 0, 5],
    [0, 1, true, 1, 1],
    [0, 0, false, 1, 2],
    [1, 1, true, 1, 1],
    [1, 0, false, 1, 1],
  ]);
  const measured = measure(answers);

  test('count what the student would answer itself, and the teacher for the rest', () => {
    expect(measured.selectiveAgreement).toMatchObject({ pairs: 3, successes: 2, lowerBound: lowerBound(2, 3, 0.03) });
    expect(measured.coverage).toMatchObject({ pairs: 5, successes: 3, value: 0.6 });
    expect(measured.overallAgreement).toBe(3 / 5);
    expect(measured.deliveredAgreement).toBe(4 / 5);
    expect(measured.byRequests).toEqual({
      requests: 10,
      coverage: 0.7,
      selectiveAgreement: 6 / 7,
      deliveredAgreement: 0.9,
    });
  });

  test('hold teacher and student against the truth side by side', () => {
    expect(measured.accuracy).toEqual({
      pairs: 5,
      teacher: 3 / 5,
      student: 3 / 5,
      selectivePairs: 3,
      selectiveStudent: 1,
      selectiveTeacher: 2 / 3,
      delivered: 4 / 5,
    });
    expect(measure(answersOf([[0, 0, true]])).accuracy).toBeNull();
  });

  test('list a label with too few pairs as undetermined, never as fine', () => {
    expect(measured.classes.map(({ label, pairs, coverage, standing }) => [label, pairs, coverage, standing])).toEqual([
      ['a', 3, 2 / 3, 'undetermined'],
      ['b', 2, 0.5, 'undetermined'],
      ['c', 0, null, 'undetermined'],
    ]);
    const many: Row[] = [...new Array<Row>(200).fill([0, 0, true]), ...new Array<Row>(200).fill([1, 0, true])];
    expect(measure(answersOf(many)).classes.map(({ standing }) => standing)).toEqual([
      'above',
      'below',
      'undetermined',
    ]);
  });

  test('a student that is sure of nothing agrees on nothing, and delivers the teacher', () => {
    const { selectiveAgreement, deliveredAgreement, byRequests } = measure(answersOf([[0, 0, false]]));
    expect(selectiveAgreement).toMatchObject({ pairs: 0, value: null, lowerBound: 0, upperBound: 1 });
    expect(deliveredAgreement).toBe(1);
    expect(byRequests.selectiveAgreement).toBeNull();
  });
});

test('confusions are told by frequency, in labels, and no more than can be read', () => {
  const few = measure(
    answersOf([
      [0, 1, false],
      [2, 0, true],
      [2, 0, false],
      [1, 1, true],
    ]),
  );
  expect(few.confusions).toEqual([
    { teacher: 'c', student: 'a', pairs: 2, covered: 1 },
    { teacher: 'a', student: 'b', pairs: 1, covered: 0 },
  ]);
});

test('risk and coverage are told in few points, up to what any threshold covers', () => {
  const answers = answersOf(Array.from({ length: 400 }, (_, i): Row => [0, i % 4 === 0 ? 1 : 0, i < 300]));
  const { riskCoverage } = measure(answers);
  expect(riskCoverage).toHaveLength(50);
  expect(riskCoverage.at(-1)).toEqual({ confidence: 0.9, covered: 300, agreeing: 225 });
  expect(riskCoverage.map(({ covered }) => covered)).toEqual(Array.from({ length: 50 }, (_, i) => 6 * (i + 1)));
  expect(measure(answersOf([[0, 0, false]])).riskCoverage).toEqual([]);
});

test('costs are those of the teacher for all, and for what is left to it', () => {
  const answers = answersOf([
    [0, 0, true],
    [0, 0, true],
    [0, 0, false],
    [0, 0, true],
  ]);
  const costs = measureCosts(answers, [1, 2, 3, 100], 1.5);
  expect(costs.teacher).toMatchObject({ medianLatencyMs: 20, p99LatencyMs: 40, usdPerThousand: expect.closeTo(1, 9) });
  expect(costs.student).toEqual({ medianLatencyMs: 2, p99LatencyMs: 100, timedRequests: 4, cpuMs: 1.5 });
  expect(costs.deliveredUsdPerThousand).toBeCloseTo(0.25, 9);
});

test('a quantile is a value that was measured', () => {
  expect([quantile([], 0.5), quantile([7], 0.01), quantile([1, 2], 0.5), quantile([1, 2, 3], 1)]).toEqual([0, 7, 1, 3]);
});

describe('parts of the answer', () => {
  const plan = outputPlan({
    type: 'object',
    properties: {
      tags: { type: 'array', items: { enum: LABELS } },
      rooms: { type: 'integer', minimum: 1, maximum: 3 },
    },
    required: ['tags'],
    additionalProperties: false,
  });
  const row = (teacher: object, student: object | undefined, covered: boolean): Answer => {
    const [answer, own] = [JSON.stringify(teacher), student && JSON.stringify(student)];
    const { whole = false, heads } = own === undefined ? {} : plan.agreement(own, answer);
    const [base] = answersOf([[0, 0, covered]]);
    return { ...base!, pair: { ...base!.pair, answer, label: undefined }, answer: own, agrees: whole, heads };
  };

  test('are compared where the student has an answer, and by what both assert', () => {
    const { heads, classes, overallAgreement, confusions } = measure(
      [
        row({ tags: ['a', 'b'], rooms: 1 }, { tags: ['b', 'a'], rooms: 1 }, true),
        row({ tags: ['a'] }, { tags: ['a', 'c'] }, true),
        row({ tags: ['b'], rooms: 2 }, { tags: [], rooms: 3 }, false),
        row({ tags: ['c'] }, undefined, false),
      ],
      plan,
    );
    expect([classes, confusions]).toEqual([[], []]);
    expect(overallAgreement).toBe(1 / 4);
    expect(heads).toEqual([
      {
        ...{ name: 'rooms', kind: 'number', agreement: 2 / 3, selectiveAgreement: 1 },
        ...{ precision: 1 / 2, recall: 1 / 2, f1: 1 / 2 },
      },
      {
        ...{ name: 'tags', kind: 'tags', agreement: 1 / 3, selectiveAgreement: 1 / 2 },
        ...{ precision: 3 / 4, recall: 3 / 5, f1: 6 / 9 },
      },
    ]);
  });
});
