import { create } from '@bufbuild/protobuf';
import { DeploymentSchema } from '@understudy/contract/deployer';
import { randomSource } from '@understudy/student/statistics/random-source';
import { compileTask } from '@understudy/task';
import { describe, expect, test } from 'vitest';
import { Confidences } from '../auditing/confidences.ts';
import { Pace } from '../auditing/pace.ts';
import type { ServedTask } from '../deployments/serving.ts';
import type { StudentSession } from '../students/session.ts';
import { taskOf } from '../testing.ts';
import { draw } from './draw.ts';

const task = compileTask(taskOf('drawn'));
const session = {} as StudentSession; // only whether there is one matters to a draw
const served = (changes: Partial<ServedTask>, auditShare = 0): ServedTask => ({
  deployment: create(DeploymentSchema, { task: 'drawn', auditShare }),
  files: new Map(),
  signatures: new Map(),
  task,
  student: session,
  confidences: new Confidences(),
  challenger: undefined,
  ...changes,
});
const question = { inputJson: '{"text":"hello"}', text: 'hello' };
const draws = (wanted: ServedTask, count: number) => {
  const random = randomSource(7);
  return Array.from({ length: count }, () => draw(wanted, question, random));
};

describe('a draw', () => {
  test('leaves a student alone that nobody audits', () => {
    const wanted = served({});
    for (const drawn of draws(wanted, 50)) {
      expect(drawn).toEqual({ answering: wanted, text: 'hello', audit: undefined, shadow: undefined });
    }
  });
  test('takes its share of answers for checks, and says with what probability', () => {
    const taken = draws(served({}, 0.1), 1_000).filter(({ audit }) => audit === 0.1);
    // Three standard errors of 1,000 draws at a tenth are 28.
    expect(Math.abs(taken.length - 100)).toBeLessThan(28);
    expect(draws(served({ student: undefined }, 0.1), 100).every(({ audit }) => audit === undefined)).toBe(true);
  });
  test('gives a canary its share of the requests, and checks its answers at its own rate', () => {
    const canary = served({}, 0.5);
    const drawn = draws(served({ challenger: { served: canary, share: 0.2 } }), 1_000);
    const given = drawn.filter(({ answering }) => answering === canary);
    expect(Math.abs(given.length - 200)).toBeLessThan(38);
    expect(given.some(({ audit }) => audit === 0.5) && given.some(({ audit }) => audit === undefined)).toBe(true);
    expect(drawn.every(({ shadow }) => shadow === undefined)).toBe(true);
  });
  test('lets a shadow predict beside at its rate, and beside all that the teacher answers anyway', () => {
    const shadow = served({}, 0.3);
    const beside = draws(served({ challenger: { served: shadow, share: 0 } }), 1_000);
    expect(beside.every(({ answering }) => answering !== shadow)).toBe(true);
    expect(Math.abs(beside.filter((one) => one.shadow).length - 300)).toBeLessThan(44);
    const alone = draws(served({ student: undefined, challenger: { served: shadow, share: 0 } }), 100);
    expect(alone.every((one) => one.shadow?.propensity === 1)).toBe(true);
  });
  test('gives a challenger of another version of the task the text as that version has it', () => {
    const other = compileTask(taskOf('drawn', { prompt: { ...task.task.prompt, template: 'Message: {{text}}' } }));
    const canary = served({ task: other }, 0.5);
    const [drawn] = draws(served({ challenger: { served: canary, share: 0.99 } }), 1);
    expect(drawn).toMatchObject({ answering: canary, text: 'Message: hello' });
    const strict = compileTask(taskOf('drawn', { prompt: { ...task.task.prompt, maxCharacters: 2, truncate: false } }));
    const wanted = served({ challenger: { served: served({ task: strict }), share: 0.99 } });
    expect(draws(wanted, 20).every(({ answering }) => answering === wanted)).toBe(true);
  });
});

test('a pace spreads a day of calls: an hour of them at most at once, and no more than a day of them a day', () => {
  const pace = new Pace(2_400, 0);
  const take = (atMs: number) => {
    let taken = 0;
    while (pace.take(atMs)) taken += 1;
    return taken;
  };
  expect(take(0)).toBe(100);
  expect(take(60_000)).toBe(1);
  expect(take(3_660_000)).toBe(100);
  expect(take(1e12)).toBe(100);
  expect(new Pace(0, 0).take(1e12)).toBe(false);
});
