import { type AnswerAudited, AuditOutcome, DeclineReason, Purpose } from '@understudy/contract';
import { Stage } from '@understudy/contract/deployer';
import { decodePayload } from '@understudy/service/bus/event';
import { type TestBus, testBus } from '@understudy/service/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  deploy,
  eventually,
  FakeTeacher,
  pairOf,
  studentOf,
  TestGateway,
  taskOf,
  temporaryFolder,
} from '../testing.ts';

let bus: TestBus;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let teacher: FakeTeacher;
let gateway: TestGateway;
let challenger: string;
beforeAll(async () => {
  [bus, folder, teacher] = await Promise.all([testBus(), temporaryFolder(), FakeTeacher.start()]);
  gateway = await TestGateway.start(bus.server.url, folder.path, { TEACHER_GATEWAY_ADDRESS: teacher.address });
  challenger = (await studentOf(8)).digest;
});
afterAll(async () => {
  await gateway.stop();
  await teacher[Symbol.asyncDispose]();
  await bus[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

/** What was told of a task's checks, once it is so many. */
const told = (task: string, count: number): Promise<AnswerAudited[]> =>
  eventually(async () => {
    const { state } = await bus.bus.jsm.streams.info('TRAFFIC', { subjects_filter: `answer.audited.${task}` });
    if ((state.subjects?.[`answer.audited.${task}`] ?? 0) < count) return undefined;
    const found: AnswerAudited[] = [];
    for (let seq = state.first_seq; seq <= state.last_seq; seq += 1) {
      const message = await bus.bus.jsm.streams.getMessage('TRAFFIC', { seq });
      if (message?.subject === `answer.audited.${task}`) found.push(decodePayload('answer.audited', message.data));
    }
    return found;
  });

const askMany = (task: string, count: number) =>
  Promise.all(
    Array.from({ length: count }, async (_, n) => {
      const content = `the parcel never came, number ${n}`;
      const response = await gateway.post('/v1/chat/completions', {
        model: task,
        messages: [{ role: 'user', content }],
      });
      expect(response.status).toBe(200);
      return response.headers.get('x-understudy-student');
    }),
  );
const asked = (task: string, purpose: Purpose) =>
  teacher.asked.filter((request) => request.task === task && request.purpose === purpose);

test('a shadow answers nobody; one question to the teacher, never from the cache, judges it and what serves', async () => {
  const task = taskOf('shadowed');
  const shadow = { seed: 8, stage: Stage.SHADOW, share: 0, auditShare: 1 };
  const serving = await deploy(bus.bus, gateway.blobs, {
    task,
    generation: 2,
    seed: 7,
    auditShare: 1,
    challenger: shadow,
  });
  await gateway.serves('shadowed', 2);
  expect(await askMany('shadowed', 4)).toEqual(Array(4).fill(serving));
  const facts = await told('shadowed', 8);
  expect(asked('shadowed', Purpose.AUDIT)).toHaveLength(4);
  for (const [student, generation] of [
    [serving, 1n],
    [challenger, 2n],
  ] as const) {
    const own = facts.filter(({ studentDigest }) => studentDigest === student);
    expect(own).toHaveLength(4);
    for (const fact of own)
      expect(fact).toMatchObject({ servingGeneration: generation, propensity: 1, outcome: AuditOutcome.AGREED });
    expect(own.every(({ pair }) => pair === undefined)).toBe(true);
  }
});

test('beside the teacher a shadow is judged by what clients are answered anyway', async () => {
  const task = taskOf('taught', { recordTraffic: true });
  const shadow = { seed: 8, stage: Stage.SHADOW, share: 0, auditShare: 0.01 };
  await deploy(bus.bus, gateway.blobs, { task, generation: 1, challenger: shadow });
  await gateway.serves('taught', 1);
  teacher.answers = async (request) => pairOf(request, 'bill');
  expect(await askMany('taught', 3)).toEqual(Array(3).fill(null));
  const facts = await told('taught', 3);
  expect(facts.map(({ outcome }) => outcome)).toEqual(Array(3).fill(AuditOutcome.DISAGREED));
  expect([asked('taught', Purpose.SERVE).length, asked('taught', Purpose.AUDIT).length]).toEqual([3, 0]);
  teacher.answers = async (request) => pairOf(request, 'parcel');
});

test('a canary answers its share under its own digest, and a step to live changes only who that is', async () => {
  const task = taskOf('canaried');
  const canary = { seed: 8, stage: Stage.CANARY, share: 0.5, auditShare: 0.01 };
  const serving = await deploy(bus.bus, gateway.blobs, { task, generation: 3, seed: 7, challenger: canary });
  await gateway.serves('canaried', 3);
  const students = await askMany('canaried', 60);
  expect(new Set(students)).toEqual(new Set([serving, challenger]));
  await deploy(bus.bus, gateway.blobs, { task, generation: 4, seed: 8 });
  await gateway.serves('canaried', 4);
  expect(new Set(await askMany('canaried', 10))).toEqual(new Set([challenger]));
});

test('a challenger that is damaged takes nothing from what serves, and never answers', async () => {
  const task = taskOf('damaged');
  const archive = new Uint8Array((await studentOf(8)).archive);
  archive[archive.length >> 1]! ^= 1;
  const before = await gateway.metric('understudy_gateway_deployment_failures_total');
  const canary = { seed: 8, stage: Stage.CANARY, share: 0.99, auditShare: 1, archive };
  const serving = await deploy(bus.bus, gateway.blobs, { task, generation: 2, seed: 7, challenger: canary });
  await gateway.serves('damaged', 2);
  expect(await gateway.metric('understudy_gateway_deployment_failures_total')).toBeGreaterThan(before);
  expect(new Set(await askMany('damaged', 10))).toEqual(new Set([serving]));
});

test('a spent budget for audits is told, and the teacher is left alone for a while; clients are answered all the same', async () => {
  const task = taskOf('spent');
  teacher.answers = async () => ({ case: 'declined', value: { reason: DeclineReason.BUDGET, detail: 'spent' } });
  await deploy(bus.bus, gateway.blobs, { task, generation: 1, seed: 7, auditShare: 1 });
  await gateway.serves('spent', 1);
  await askMany('spent', 1);
  expect((await told('spent', 1))[0]).toMatchObject({ outcome: AuditOutcome.BUDGET_SPENT, servingGeneration: 1n });
  await askMany('spent', 5);
  expect(asked('spent', Purpose.AUDIT)).toHaveLength(1);
});
