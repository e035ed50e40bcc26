import type { Deployment } from '@understudy/contract/deployer';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type By, barredOf, type Candidate, promotionOf, rollbackOf } from './moves.ts';
import { besideOf, type Plan } from './plan.ts';

const now = new Date('2026-01-02T03:04:05Z');
const who: By = { author: 'Ada', reason: 'a test' };
/** No stages: what is proven is live at once. */
const direct = (current: Deployment | undefined): Plan => ({
  beside: besideOf(current),
  ahead: [],
  canaryShare: 0.1,
  stageAuditShare: 0.2,
  liveAuditShare: 0.01,
  why: 'a test',
});
const candidate = (sequence: number): Candidate => ({
  task: 'mail',
  taskDigest: `task-${sequence}`,
  runId: `run-${sequence}`,
  studentDigest: `student-${sequence}`,
  policyDigest: `policy-${sequence}`,
  reportDigest: `report-${sequence}`,
  sequence: BigInt(sequence),
});
const promoting = (current: Deployment | undefined, proven: Candidate) => {
  const promotion = promotionOf(current, proven, direct(current), now);
  if (promotion.kind === 'replan') throw new Error('the plan is for what serves');
  return promotion;
};
const promoted = (current: Deployment | undefined, sequence: number): Deployment => {
  const promotion = promoting(current, candidate(sequence));
  expect(promotion.kind).toBe('moved');
  return promotion.deployment;
};
const rolledBack = (current: Deployment): Deployment => {
  const rollback = rollbackOf(current, current.generation, who, now);
  if (rollback.kind !== 'moved') throw new Error(`expected a move, got ${rollback.kind}`);
  return rollback.deployment;
};

describe('a promotion', () => {
  test('is a newer generation that remembers the one before', () => {
    const first = promoted(undefined, 3);
    expect(first).toMatchObject({
      generation: 1n,
      studentDigest: 'student-3',
      reportSequence: 3n,
    });
    expect(first.previous).toBeUndefined();
    expect(promoted(first, 5)).toMatchObject({
      generation: 2n,
      studentDigest: 'student-5',
      taskDigest: 'task-5',
      previous: { studentDigest: 'student-3', policyDigest: 'policy-3', reportDigest: 'report-3', runId: 'run-3' },
    });
  });

  test('of a report that stands already moves nothing, and of an older one neither', () => {
    const current = promoted(promoted(undefined, 3), 5);
    expect(promoting(current, candidate(5))).toEqual({ kind: 'stands', deployment: current });
    expect(promoting(current, candidate(4))).toEqual({ kind: 'late', deployment: current });
    expect(promoting(current, { ...candidate(5), reportDigest: 'other' }).kind).toBe('late');
  });
});

describe('a rollback', () => {
  test('goes back to the student before, and then to none', () => {
    const back = rolledBack(promoted(promoted(undefined, 3), 5));
    expect(back).toMatchObject({
      task: 'mail',
      generation: 3n,
      studentDigest: 'student-3',
      policyDigest: 'policy-3',
      reportDigest: 'report-3',
      reportSequence: 5n,
    });
    expect(back.previous).toBeUndefined();
    const none = rolledBack(back);
    expect(none).toMatchObject({
      generation: 4n,
      studentDigest: '',
      policyDigest: '',
      reportDigest: '',
      taskDigest: 'task-3',
    });
    expect(rollbackOf(none, 4n, who, now)).toMatchObject({
      kind: 'refused',
      reason: expect.stringMatching(/has no student/),
    });
  });

  test('asked for again with what the caller saw moves nothing further', () => {
    const back = rolledBack(promoted(promoted(undefined, 3), 5));
    expect(rollbackOf(back, 2n, who, now)).toEqual({ kind: 'stands', deployment: back });
  });

  test('is refused when the deployment is not where the caller saw it', () => {
    const current = promoted(promoted(undefined, 3), 5);
    expect(rollbackOf(current, 1n, who, now)).toMatchObject({
      kind: 'refused',
      reason: expect.stringMatching(/generation 1, it is at 2/),
    });
  });

  test('is not undone by a replay of the report rolled back, nor of the one gone back to', () => {
    const back = rolledBack(promoted(promoted(undefined, 3), 5));
    for (const sequence of [3, 5]) expect(promoting(back, candidate(sequence)).kind).toBe('late');
    expect(promoted(back, 6)).toMatchObject({ generation: 4n, previous: { studentDigest: 'student-3' } });
    expect(promoted(rolledBack(promoted(undefined, 1)), 2)).toMatchObject({ previous: { studentDigest: '' } });
  });
});

test('whatever comes in whatever order, generations and sequences only rise, and nothing is promoted twice', () => {
  const move = fc.oneof(fc.integer({ min: 1, max: 8 }), fc.constant('rollback' as const));
  fc.assert(
    fc.property(fc.array(move, { maxLength: 40 }), (moves) => {
      let current: Deployment | undefined;
      const promotions: bigint[] = [];
      for (const one of moves) {
        const before: Deployment | undefined = current;
        if (one === 'rollback') {
          if (!current) continue;
          const rollback = rollbackOf(current, current.generation, who, now);
          if (rollback.kind === 'moved') current = rollback.deployment;
        } else {
          const promotion = promoting(current, candidate(one));
          if (promotion.kind === 'moved') promotions.push(BigInt(one));
          current = promotion.deployment;
        }
        if (!before || current === before) continue;
        expect(current!.generation).toBe(before.generation + 1n);
        expect(current!.reportSequence).toBeGreaterThanOrEqual(before.reportSequence);
      }
      expect(promotions).toEqual([...new Set(promotions)].toSorted((a, b) => Number(a - b)));
    }),
  );
});

describe('students that are barred', () => {
  const barred = (current: Deployment, ...students: string[]) => barredOf(current, new Set(students), who, now);

  test('leave the deployment to the teacher where one of them serves, and nothing to roll back to', () => {
    const deployment = promoted(promoted(undefined, 1), 2);
    const result = barred(deployment, 'student-2', 'student-9');
    expect(result).toMatchObject({
      kind: 'moved',
      deployment: {
        generation: 3n,
        studentDigest: '',
        policyDigest: '',
        auditShare: 0,
        move: { action: 'demoted', ...who },
      },
    });
    if (result.kind !== 'moved') throw new Error('it moved');
    expect(result.deployment.previous).toBeUndefined();
    expect(result.deployment.reportSequence).toBe(2n);
    expect(barred(result.deployment, 'student-2')).toMatchObject({ kind: 'stands' });
  });

  test('that served before are not come back to, and what serves goes on', () => {
    const result = barred(promoted(promoted(undefined, 1), 2), 'student-1');
    expect(result).toMatchObject({
      kind: 'moved',
      deployment: { studentDigest: 'student-2', move: { action: 'barred', studentDigest: 'student-1' } },
    });
    if (result.kind !== 'moved') throw new Error('it moved');
    expect(result.deployment.previous).toBeUndefined();
    expect(rolledBack(result.deployment).studentDigest).toBe('');
  });

  test('and a deployment that has none of them move nothing', () => {
    expect(barred(promoted(undefined, 1), 'student-7')).toMatchObject({
      kind: 'stands',
      deployment: { generation: 1n },
    });
  });
});
