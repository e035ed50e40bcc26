import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Verdict } from '@understudy/contract';
import { RunStage, RunStateSchema } from '@understudy/contract/prompt';
import { parseTask } from '@understudy/task';
import { expect, test } from 'vitest';
import { parseEvaluation } from './evaluation.ts';
import { bytes, dollars, milliseconds, percent, percentAtLeast } from './format.ts';
import { ladderRows, reportRows } from './report.ts';
import { AnswerRate, stageLine } from './run-progress.ts';
import { suspectRows } from './suspect-rows.ts';

const task = parseTask(
  JSON.stringify({
    name: 'triage',
    input: { fields: ['text'] },
    prompt: { instructions: 'Sort.', template: '{{text}}', maxCharacters: 200 },
    output: {
      schema: {
        type: 'object',
        properties: { label: { enum: ['a', 'b'] } },
        required: ['label'],
        additionalProperties: false,
      },
    },
    teacher: { kind: 'nats', subject: 'models.triage', model: 'm' },
    sources: [{ kind: 'lines', path: '/data/lines.txt' }],
    budget: { calls: 100, usd: 1 },
    goal: { agreement: 0.92, coverage: 0.8 },
  }),
);

const evaluation = {
  test: {
    selectiveAgreement: { value: 0.951, lowerBound: 0.934 },
    coverage: { value: 0.88, lowerBound: 0.861 },
    deliveredAgreement: 0.957,
    overallAgreement: 0.91,
    pairs: 1_000,
    look: 1,
    accuracy: {
      pairs: 900,
      teacher: 0.9,
      student: 0.85,
      selectiveStudent: 0.9,
      selectiveTeacher: 0.92,
      delivered: 0.88,
    },
  },
  costs: { teacher: { medianLatencyMs: 120 }, student: { medianLatencyMs: 0.24 } },
  student: { digest: 'b'.repeat(64), sizeBytes: 2_100_000, family: 'bag' },
  verdict: { morePairs: 0 },
};

const run = create(RunStateSchema, {
  runId: 'r1',
  task: 'triage',
  stage: RunStage.FINISHED,
  verdict: Verdict.PROMOTED,
  answered: 5_000,
  submitted: 5_001,
  declined: 1,
  cached: 40,
  declinesByReason: { INVALID_ANSWER: 1 },
  spentMicroUsd: 1_250_000n,
  teacherCalls: 4_980,
  startedAt: timestampFromMs(0),
  finishedAt: timestampFromMs(95_000),
  stages: [
    { stage: RunStage.LABELLING, at: timestampFromMs(0) },
    { stage: RunStage.TRAINING, at: timestampFromMs(60_000) },
    { stage: RunStage.FINISHED, at: timestampFromMs(95_000) },
  ],
});

test('the report says what was proven, what it cost and how long it took', () => {
  const rows = Object.fromEntries(reportRows(run, task, parseEvaluation(JSON.stringify(evaluation))));
  expect(rows.agreement).toBe('95.1% where the student answers, at least 93.4% with 95.0% confidence (goal: 92.0%)');
  expect(rows.coverage).toBe('88.0% of requests, at least 86.1% (goal: 80.0%)');
  expect(rows.accuracy).toContain('teacher 90.0%, student 85.0%');
  expect(rows.latency).toBe('student 240 µs, teacher 120 ms, 500.0 times (medians)');
  expect(rows.spent).toBe('$1.25 for 4,980 calls to the teacher');
  expect(rows.prompts).toBe('5,000 answered, 40 of them from the store; 1 declined (invalid_answer 1)');
  expect(rows.time).toBe('1 min 35 s (ask the teacher 1 min 0 s, train the student 35.0 s)');
});

test('the report shows what else was tried, where more than one student was trained', () => {
  const figures = { agreement: 0.951, coverage: 0.86, sizeBytes: 1_100_000, latencyUs: 100, trainingMs: 9_000 };
  const tried = (name: string, trained: object | null, reason = '') => ({
    ...{ name, reason, trained, onFront: name !== 'conv' },
    status: trained ? 'trained' : 'skipped',
  });
  const bag = tried('bag', { ...figures, digest: 'a'.repeat(64) });
  const conv = tried('conv', { ...figures, digest: 'c'.repeat(64), agreement: 0.95 });
  const transformer = tried('transformer', { ...figures, digest: 'b'.repeat(64), agreement: 0.97, trainingMs: 90_000 });
  const rows = (candidates: object[]) => ladderRows(parseEvaluation(JSON.stringify({ ...evaluation, candidates })));
  expect(rows([bag, conv, transformer, tried('encoder', null, 'too large')])).toEqual([
    ['', 'agreement', 'coverage', 'size', 'latency', 'training', ''],
    ['bag', '95.1%', '86.0%', '1.1 MB', '100 µs', '9.0 s', ''],
    ['conv', '95.0%', '86.0%', '1.1 MB', '100 µs', '9.0 s', 'another is as good in all, or better'],
    ['transformer', '97.0%', '86.0%', '1.1 MB', '100 µs', '1 min 30 s', 'chosen'],
    ['encoder', '', '', '', '', '', 'skipped: too large'],
  ]);
  expect(rows([bag, tried('conv', null, 'not needed')])).toEqual([]);
});

test('a run that never came to an evaluation has a report too', () => {
  const tossed = create(RunStateSchema, { ...run, verdict: Verdict.NOT_DISTILLABLE, reason: 'coin tosses' });
  const told = Object.fromEntries(reportRows(tossed, task, undefined));
  expect(told.verdict).toBe('cannot be distilled: coin tosses');
  expect(told.spent).toMatch(/ calls to the teacher, of the [\d,]+ calls of the budget$/);
  const broken = create(RunStateSchema, { ...run, verdict: Verdict.BROKEN, reason: 'no answer for 15 min' });
  const rows = Object.fromEntries(reportRows(broken, task, undefined));
  expect(rows.verdict).toBe('broken: no answer for 15 min');
  expect(rows.agreement).toBeUndefined();
});

test('stages say how far they are', () => {
  const labelling = create(RunStateSchema, { ...run, stage: RunStage.LABELLING });
  expect(stageLine(RunStage.LABELLING, labelling, 104.4)).toBe(
    'ask the teacher: 5,000 of 5,001 answered, 1 declined, 40 from the store, $1.25 spent, 104/s',
  );
  const rate = new AnswerRate();
  expect(rate.update(labelling, 0)).toBeUndefined();
  expect(rate.update(create(RunStateSchema, { ...labelling, answered: 5_300 }), 3_000)).toBe(100);
});

test('figures read well at every size', () => {
  expect([0.02, 3.21, 45.6, 12_345, 125_000].map(milliseconds)).toEqual([
    '20 µs',
    '3.2 ms',
    '46 ms',
    '12.3 s',
    '2 min 5 s',
  ]);
  expect([999, 1_500, 27_900_000, 25_000_000_000].map(bytes)).toEqual(['999 B', '1.5 kB', '27.9 MB', '25.0 GB']);
  expect([0n, 1_234n, 12_345_678n].map(dollars)).toEqual(['$0.00', '$0.0012', '$12.35']);
  expect([percent(0.9337), percentAtLeast(0.9199), percentAtLeast(1)]).toEqual(['93.4%', '91.9%', '100.0%']);
  expect([59_960, 119_700].map(milliseconds)).toEqual(['1 min 0 s', '2 min 0 s']);
});

test('what is suspicious is said in a line each, and who lists it; nothing where nothing is', () => {
  const suspects = {
    ...{ capped: 37, dropped: 0, settled: 2, retired: 1 },
    caps: [{ kind: 'trigger', what: 'zq', origin: 'forum.jsonl', answer: '{"label":"a"}', pairs: 40, kept: 3 }],
    folds: { digest: 'd', pairs: 700, agreeing: 690, suspects: 4 },
  };
  const parts = [{ by: 'source', name: 'new.csv', standing: 'undetermined' }];
  const twins = { ofTrain: 2, ofTest: 1 };
  const told = parseEvaluation(JSON.stringify({ ...evaluation, suspects, twins, floors: { parts } }));
  expect(suspectRows(told, 'triage')).toEqual([
    ['suspicious', 'too few pairs to tell of new.csv'],
    [
      '',
      '40 pairs of forum.jsonl with "zq" have the answer {"label":"a"}, which all else in them contradicts: 3 trained',
    ],
    ['', 'people settled 2 train pairs and dropped 0; 1 of dev and test that they decided about do not judge'],
    ['', '4 of 700 train pairs have an answer that a student which did not learn from them is sure to contradict'],
    ['', '3 test pairs do not count: 2 are in train too, 1 in test twice'],
    ['', 'understudy review triage lists them'],
  ]);
  expect(suspectRows(parseEvaluation(JSON.stringify(evaluation)), 'triage')).toEqual([]);
});
