import { create } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { events, type PayloadInit, Verdict } from '@understudy/contract';
import { StatsResponseSchema } from '@understudy/contract/pair-store';
import { RunStage } from '@understudy/contract/prompt';
import type { Task } from '@understudy/task';
import { testTask } from '@understudy/task/testing';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_DECLINES_WITHOUT_ANSWER } from './limits.ts';
import type { BusFact, DeadLetterFact, MovingType, Run, RunFact } from './run.ts';
import { advance, beginRun, commandsOf, isAhead, isFinished, termsOf } from './run-state.ts';

const graceMs = 60_000;
const task = testTask({
  teacher: { kind: 'nats', subject: 's', model: 'm', timeoutMs: 1_000, maxRetries: 1 },
  budget: { calls: 10_000, usd: 5 },
  batches: { first: 1_000, growth: 1 },
  training: { maxMinutes: 1 },
});
const address = { runId: 'run-1', task: 'states', taskDigest: 'd'.repeat(64) };

function bus<T extends MovingType>(type: T, payload: PayloadInit<T>): BusFact {
  const message = create(events[type].schema, { ...address, ...(payload as object) } as never);
  return { type, payload: message } as unknown as BusFact;
}

const stats = (counts: { answered: number; declined?: number; teacherCalls?: number; spentMicroUsd?: bigint }) =>
  ({ type: 'counted', stats: create(StatsResponseSchema, { teacherCalls: counts.answered, ...counts }) }) as const;
const sampled = (prompts: number): RunFact => ({
  type: 'sampled',
  sample: { population: prompts, duplicates: 3, badRecords: 1, badRecordDetails: ['in:2: x'], pairs: 0, sources: [] },
  chunks: [{ digest: 'c'.repeat(64), prompts }],
});
const passed = (reportDigest: string, seal = 1) => bus('eval.passed', { seal, summary: { reportDigest } });
const failed = (morePairs: number, seal = 1) => bus('eval.failed', { seal, morePairs, reason: 'not proven' });
/** Without `batches.first`. */
const unsaid = { batches: { growth: 1, selection: 'random' as const } };
const lost = (of: DeadLetterFact['of'], more: Partial<DeadLetterFact> = {}): DeadLetterFact => ({
  type: 'dead-lettered',
  of,
  consumer: 'somebody',
  reason: 'boom',
  seal: 0,
  reportDigest: '',
  ...more,
});

/** Runs facts one millisecond apart. */
function runAfter(facts: RunFact[], change: Partial<Task> = {}, ownPrompts = false): Run {
  const given = { ...address, ownPrompts, traceparent: '', terms: termsOf({ ...task, ...change }) };
  const advanced = (run: Run, fact: RunFact, index: number) => advance(run, fact, { graceMs, nowMs: 1_001 + index });
  return facts.reduce(advanced, beginRun(given, 1_000));
}

const labelled: RunFact[] = [
  sampled(10_000),
  { type: 'submitted', batch: 1, prompts: 400 },
  { type: 'submitted', batch: 1, prompts: 1_000 },
  { type: 'closed', batch: 1 },
  stats({ answered: 990, declined: 10, teacherCalls: 1_010, spentMicroUsd: 2_000_000n }),
];
const sealed = [
  ...labelled,
  bus('pairs.sealed', { seal: 1, answered: 990, declined: 10, snapshot: { trainPairs: 700 } }),
];
const trained = [...sealed, bus('student.trained', { seal: 1, student: { family: 'bag' } })];
const promoting = [...trained, passed('r1')];
const promoted = [...promoting, bus('student.promoted', { generation: 7n })];

describe('a run', () => {
  test('goes from prompts to promotion, and says when each stage began', () => {
    const { state, announce } = runAfter(promoted);
    expect(state).toMatchObject({
      stage: RunStage.FINISHED,
      verdict: Verdict.PROMOTED,
      reason: 'generation 7 serves',
      population: 10_000,
      duplicates: 3,
      badRecords: 1,
      submitted: 1_000,
      answered: 990,
      declined: 10,
      teacherCalls: 1_010,
      batches: 1,
      generation: 7n,
    });
    expect(state.stages.map(({ stage }) => stage)).toEqual([1, 2, 3, 4, 5, 6]);
    const times = state.stages.map(({ at }) => timestampMs(at!));
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(announce).toEqual(['run.finished']);
  });

  test('wants its work done one step at a time, and again after a crash', () => {
    const wanted = (facts: RunFact[]) => commandsOf(runAfter(facts)).map((command) => command.type);
    expect(wanted([])).toEqual(['sample']);
    expect(wanted(labelled.slice(0, 1))).toEqual(['submit']);
    expect(wanted(labelled.slice(0, 2))).toEqual(['submit']);
    expect(wanted(labelled.slice(0, 3))).toEqual(['close']);
    expect(wanted(labelled)).toEqual([]);
    expect(wanted(promoting)).toEqual([]);
    expect(wanted(promoted)).toEqual(['announce']);
    expect(wanted([...promoted, { type: 'announced', announcement: 'run.finished' }])).toEqual([]);
    expect(wanted([{ type: 'cancelled', reason: 'enough' }])).toEqual(['announce', 'announce']);
  });

  test('comes to the same end however often and in whatever order its facts arrive', () => {
    const facts = promoted.slice(labelled.length);
    fc.assert(
      fc.property(fc.shuffledSubarray([...facts, ...facts, ...facts], { minLength: 0 }), (shuffled) => {
        const run = runAfter([...labelled, ...shuffled, ...facts]);
        expect(run.state).toMatchObject({ stage: RunStage.FINISHED, verdict: Verdict.PROMOTED, generation: 7n });
        const stages = run.state.stages.map(({ stage }) => stage);
        expect(stages).toEqual(stages.toSorted((a, b) => a - b));
      }),
    );
  });

  test('that is finished stays as it is, whatever comes late', () => {
    const done = runAfter(promoted);
    const late: RunFact[] = [...sealed.slice(-1), failed(100), lost('eval.passed'), { type: 'cancelled', reason: 'x' }];
    for (const fact of [...late, { type: 'tick' } as const]) {
      expect(advance(done, fact, { graceMs, nowMs: 1e12 })).toBe(done);
    }
  });
});

describe('a verdict that agreement is not proven', () => {
  test('opens a further batch while budget and population are left', () => {
    const { state, batches, seal } = runAfter([...trained, failed(300)]);
    expect(state.stage).toBe(RunStage.LABELLING);
    expect(batches[1]).toEqual({ number: 2, from: 1_000, to: 2_000, submitted: 0, closed: false });
    expect(seal).toBe(2);
    expect(runAfter([...trained, failed(3_000)]).batches[1]?.to).toBe(4_000);
  });

  test('is only heard for the seal that the run works on', () => {
    const second: RunFact[] = [...trained, failed(300)];
    const before = runAfter(second);
    for (const late of [failed(300), ...sealed.slice(-1), ...trained.slice(-1), passed('r1')]) {
      expect(runAfter([...second, late]).state.stage).toBe(RunStage.LABELLING);
      expect(runAfter([...second, late]).batches).toEqual(before.batches);
    }
    const on = runAfter([...second, bus('pairs.sealed', { seal: 2, answered: 1_500 })]);
    expect(on.state.stage).toBe(RunStage.TRAINING);
  });

  test.each([
    ['more pairs would not help', [...trained, failed(0)], {}, /^not proven$/],
    [
      'the calls are spent',
      [...trained, failed(9)],
      { budget: { calls: 1_050, usd: 5 } },
      /budget.calls \(1050\) is spent/,
    ],
    ['the money is spent', [...trained, failed(9)], { budget: { calls: 9_999, usd: 2 } }, /budget.usd \(2\) is spent/],
    ['all was asked', [sampled(1_050), ...trained.slice(1), failed(9)], {}, /all 1050 inputs within the budget/],
  ])('ends the run when %s', (_, facts, change, reason) => {
    const { state } = runAfter(facts, change);
    expect(state).toMatchObject({ stage: RunStage.FINISHED, verdict: Verdict.FAILED });
    expect(state.reason).toMatch(reason);
  });

  test('ends the run where the task cannot be distilled, whatever is left of the budget', () => {
    const verdict = bus('eval.failed', { seal: 1, morePairs: 0, notDistillable: true, reason: 'coin tosses' });
    const { state } = runAfter([...trained, verdict]);
    expect(state).toMatchObject({ stage: RunStage.FINISHED, verdict: Verdict.NOT_DISTILLABLE, reason: 'coin tosses' });
  });

  test.each([
    [100_000, 1, 5_000],
    [10_000, 1, 1_500],
    [10_000, 3, 499],
    [1_000, 1, 300],
    [399, 1, 399],
    [7, 1, 7],
  ])(
    'takes a seventh of a budget of %i calls, %i a prompt, where the task does not say how much',
    (calls, each, first) => {
      const teacher = { ...task.teacher, ...(each > 1 ? { samples: each } : {}) } as Task['teacher'];
      const { batches } = runAfter([sampled(calls)], { ...unsaid, teacher, budget: { calls, usd: 5 } });
      expect(batches).toMatchObject([{ from: 0, to: first }]);
    },
  );

  describe('a first batch of which the task says nothing', () => {
    const begun = [sampled(10_000), { type: 'submitted' as const, batch: 1, prompts: 400 }];
    const toOf = (facts: RunFact[], change: Partial<Task> = unsaid) => runAfter(facts, change).batches[0]!.to;

    test('is ended early where it would take more than its share of the USD', () => {
      const dear = stats({ answered: 400, spentMicroUsd: 600_000n });
      expect(toOf([...begun, dear])).toBe(500);
      expect(toOf([...begun, stats({ answered: 400, spentMicroUsd: 2_000_000n })])).toBe(400);
      expect(toOf([...begun, stats({ answered: 400, spentMicroUsd: 100_000n })])).toBe(1_500);
      expect(toOf([...begun, dear], {})).toBe(1_000);
    });

    test('or of the calls, because the teacher fails often', () => {
      expect(toOf([...begun, stats({ answered: 380, declined: 20, teacherCalls: 600 })])).toBe(1_000);
    });

    test('is submitted to its new end and closed, and what comes after it is not ended early', () => {
      const facts = [...begun, stats({ answered: 400, spentMicroUsd: 2_000_000n })];
      expect(commandsOf(runAfter(facts, unsaid))).toMatchObject([{ type: 'close', batch: { number: 1, to: 400 } }]);
      const further = [...facts, { type: 'closed' as const, batch: 1 }, failed(1_000)];
      const late = stats({ answered: 500, spentMicroUsd: 2_600_000n });
      expect(runAfter([...further, late], unsaid).batches.map(({ to }) => to)).toEqual(
        runAfter(further, unsaid).batches.map(({ to }) => to),
      );
    });
  });

  test('never takes more prompts than budget and population hold', () => {
    const arbitrary = fc.record({
      calls: fc.integer({ min: 1, max: 5_000 }),
      first: fc.integer({ min: 1, max: 5_000 }),
      growth: fc.double({ min: 0.1, max: 10, noNaN: true }),
      population: fc.integer({ min: 1, max: 5_000 }),
      retried: fc.integer({ min: 0, max: 500 }),
      morePairs: fc.array(fc.nat(5_000), { maxLength: 15 }),
    });
    fc.assert(
      fc.property(arbitrary, ({ calls, first, growth, population, retried, morePairs }) => {
        const bounded = { budget: { calls, usd: 0 }, batches: { first, growth, selection: 'random' as const } };
        const sampleSize = Math.min(calls, population);
        const rounds = morePairs.flatMap((more, index): RunFact[] => {
          const seal = index + 1;
          return [stats({ answered: seal, teacherCalls: Math.min(calls, retried * seal) }), failed(more, seal)];
        });
        const run = runAfter([sampled(sampleSize), ...rounds], bounded);
        const ends = run.batches.map(({ to }) => to);
        expect(ends.at(-1)).toBeLessThanOrEqual(sampleSize);
        expect(run.batches.map(({ from }) => from)).toEqual([0, ...ends.slice(0, -1)]);
        expect(run.batches.every(({ from, to }) => to > from)).toBe(true);
      }),
    );
  });
});

describe('a run is closed with a reason', () => {
  const patience: [string, RunFact[], number, RegExp][] = [
    ['sampling', [], 3_600_000, /waiting for the sources to be read/],
    ['labelling', labelled, 2 * 1_000 + graceMs, /waiting for answers of the teacher/],
    ['training', sealed, 60_000 + graceMs, /waiting for a student \(trainer\)/],
    ['evaluating', trained, graceMs, /waiting for a verdict \(evaluator\)/],
    ['promoting', promoting, graceMs, /waiting for the promotion \(deployer\)/],
  ];
  test.each(patience)('when %s shows no sign of life for long, and not before', (_, facts, limitMs, reason) => {
    const run = runAfter(facts);
    const tick = (nowMs: number) => advance(run, { type: 'tick' }, { graceMs, nowMs });
    expect(tick(run.lastSignOfLifeMs + limitMs)).toBe(run);
    const { state, announce } = tick(run.lastSignOfLifeMs + limitMs + 1);
    expect(state.verdict).toBe(Verdict.BROKEN);
    expect(state.reason).toMatch(reason);
    expect(announce).toEqual(['run.cancelled', 'run.finished']);
  });

  test('but not while answers or training steps keep coming', () => {
    const about = (nowMs: number) => ({ graceMs, nowMs });
    const answering = advance(runAfter(labelled), stats({ answered: 991 }), about(60_000));
    expect(isFinished(advance(answering, { type: 'tick' }, about(60_000 + graceMs)))).toBe(false);
    const training = advance(runAfter(sealed), bus('training.progressed', { epoch: 2, loss: 0.3 }), about(100_000));
    expect(isFinished(advance(training, { type: 'tick' }, about(100_000 + graceMs)))).toBe(false);
    expect(training.state.training).toMatchObject({ epoch: 2, loss: 0.3 });
  });

  test.each([
    ['prompt.submitted', labelled],
    ['teacher.answered', labelled],
    ['batch.closed', labelled],
    ['pairs.sealed', sealed],
    ['student.trained', trained],
    ['eval.passed', promoting],
  ] as const)('when %s was given up on and nothing else can end the stage', (of, facts) => {
    const { state } = runAfter([...facts, lost(of, { reportDigest: 'r1' })]);
    expect(state).toMatchObject({ verdict: Verdict.BROKEN, reason: `somebody gave up on ${of}: boom` });
  });

  test('but not for messages of stages that are over, that are still to come, or of earlier seals', () => {
    expect(isFinished(runAfter([...trained, lost('pairs.sealed')]))).toBe(false);
    expect(isFinished(runAfter([...labelled, lost('student.trained')]))).toBe(false);
    expect(isAhead(runAfter(labelled), lost('student.trained'))).toBe(true);
    expect(isAhead(runAfter(promoting), lost('student.trained'))).toBe(false);
    const second: RunFact[] = [...trained, failed(300), bus('pairs.sealed', { seal: 2, answered: 9 })];
    expect(isFinished(runAfter([...second, lost('pairs.sealed', { seal: 1 })]))).toBe(false);
    expect(isFinished(runAfter([...labelled, lost('training.progressed')]))).toBe(false);
  });

  test('and a forged verdict that the deployer refuses does not break the true one', () => {
    const forged: RunFact[] = [...promoting, passed('forged'), lost('eval.passed', { reportDigest: 'forged' })];
    expect(isFinished(runAfter(forged))).toBe(false);
    expect(runAfter([...forged, lost('eval.passed', { reportDigest: 'r1' })]).state.verdict).toBe(Verdict.BROKEN);
  });

  test('when the teacher answers nothing', () => {
    const none = stats({ answered: 0, declined: MAX_DECLINES_WITHOUT_ANSWER, teacherCalls: 500 });
    none.stats.declinesByReason = { UNAUTHORIZED: MAX_DECLINES_WITHOUT_ANSWER };
    expect(runAfter([...labelled.slice(0, 2), none]).state).toMatchObject({
      verdict: Verdict.BROKEN,
      reason: expect.stringMatching(/answered none of the first 100 prompts \(UNAUTHORIZED 100\)/),
    });
    const empty = bus('pairs.sealed', { seal: 1, answered: 0, declined: 7 });
    expect(runAfter([...labelled.slice(0, 4), empty]).state.reason).toMatch(/answered none of the first 7 prompts/);
    const rare = stats({ answered: 1, declined: MAX_DECLINES_WITHOUT_ANSWER });
    expect(isFinished(runAfter([...labelled.slice(0, 2), rare]))).toBe(false);
  });

  test.each([
    [{ type: 'cancelled', reason: 'enough' }, Verdict.CANCELLED, 'enough'],
    [bus('run.cancelled', { reason: 'by others' }), Verdict.CANCELLED, 'by others'],
    [{ type: 'broken', reason: 'source gone' }, Verdict.BROKEN, 'source gone'],
  ] as [RunFact, Verdict, string][])('by %j', (fact, verdict, reason) => {
    expect(runAfter([...labelled, fact]).state).toMatchObject({ verdict, reason });
  });
});

describe('a run whose prompts somebody else submits', () => {
  const closed = (batch: number) => bus('batch.closed', { batch, count: 10, seal: true, manifestDigest: 'm' });

  test('counts each batch once, and ends with the first verdict', () => {
    const run = runAfter([closed(0), closed(0), closed(4)], {}, true);
    expect(run.state).toMatchObject({ stage: RunStage.LABELLING, submitted: 20, batches: 2 });
    expect(commandsOf(run)).toEqual([]);
    const over = runAfter([closed(0), ...sealed.slice(-1), ...trained.slice(-1), failed(500)], {}, true);
    expect(over.state).toMatchObject({ verdict: Verdict.FAILED, reason: 'not proven' });
  });

  test('leaves the batches of our own runs alone', () => {
    const run = runAfter(labelled);
    expect(advance(run, closed(9), { graceMs, nowMs: 2_000 })).toBe(run);
  });
});
