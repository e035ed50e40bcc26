import { create } from '@bufbuild/protobuf';
import { DeclineReason, PairSchema, Purpose } from '@understudy/contract';
import { type AskRequest, TeacherGatewayService } from '@understudy/contract/teacher-gateway';
import { createClient, type RpcClient } from '@understudy/service/rpc/client';
import { RpcServer, rpcService } from '@understudy/service/rpc/server';
import { notFound } from '@understudy/service/rpc/status';
import { type TestBus, testBus } from '@understudy/service/testing';
import type { StudentModel } from '@understudy/student';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { measureCeiling, verdictOfCeiling } from './ceiling.ts';
import { evaluate } from './evaluate.ts';
import type { Looks } from './looks.ts';
import type { JudgedPair } from './pairs.ts';
import type { SuspectsReport } from './report.ts';
import { keepTask, temporaryBlobs } from './testing/corpus.ts';
import type { Turn } from './turn.ts';

const PAIRS = 120;
const stack = new AsyncDisposableStack();
const asked: AskRequest[] = [];
/** What the teacher says the second time: a label, or why it does not answer. */
let second: (index: number) => string | DeclineReason = () => 'ham';
let bus: TestBus;
let teacher: RpcClient<typeof TeacherGatewayService>;
let store: Awaited<ReturnType<typeof temporaryBlobs>>;

beforeAll(async () => {
  bus = stack.use(await testBus());
  store = stack.use(await temporaryBlobs());
  const absent = async () => {
    throw notFound('this teacher gateway only answers');
  };
  const options = { host: '127.0.0.1', port: 0, reflection: false, telemetry: bus.telemetry };
  const server = new RpcServer(options, [
    rpcService(TeacherGatewayService, {
      write: absent,
      getLedger: absent,
      listTeachers: absent,
      estimateCost: absent,
      noteModel: absent,
      accountBatch: absent,
      ask: async (request) => {
        asked.push(request);
        const said = second(Number(JSON.parse(request.inputJson).text));
        if (typeof said === 'number') return { outcome: { case: 'declined', value: { reason: said, detail: 'no' } } };
        const pair = create(PairSchema, { answerJson: JSON.stringify({ label: said }) });
        return { outcome: { case: 'pair', value: pair } };
      },
    }),
  ]);
  await server.listen();
  stack.defer(() => server.stop(1_000));
  teacher = createClient(TeacherGatewayService, { address: `127.0.0.1:${server.port}` });
  stack.defer(() => teacher.close());
});

afterAll(() => stack.disposeAsync());

const dev = Array.from(
  { length: PAIRS + 50 },
  (_, index): JudgedPair => ({
    promptId: String(index),
    inputJson: JSON.stringify({ text: String(index) }),
    text: String(index),
    origin: '',
    answer: '{"label":"ham"}',
    label: 'ham',
    weight: 1,
    reference: undefined,
    teacherLatencyMs: 1,
    teacherUsd: 0,
  }),
);

/** The ceiling of a task with this name, and what was asked for it. */
async function ceilingOf(name: string, says: typeof second, ceilingSample = PAIRS, calls = 10_000) {
  second = says;
  asked.length = 0;
  const goal = { agreement: 0.95, coverage: 0.7, ceilingSample };
  const task = await keepTask(store.blobs, { name, goal, budget: { calls, usd: 0 } });
  const turn = { task: name, taskDigest: task.digest, runId: 'run-1', snapshot: { fingerprint: 'f' } } as Turn;
  const signal = new AbortController().signal;
  return await measureCeiling({ teacher, blobs: store.blobs, task, turn, dev, traceparent: undefined, signal });
}

describe('the ceiling', () => {
  test('of a teacher that contradicts itself lies below the goal, which is refused with the figure', async () => {
    const ceiling = (await ceilingOf('contradicting', (index) => (index % 3 === 0 ? 'spam' : 'ham')))!;
    expect(ceiling).toMatchObject({ pairs: PAIRS, agreeing: 80 });
    expect(asked[0]).toMatchObject({ task: 'contradicting', purpose: Purpose.CEILING, runId: 'run-1' });
    const verdict = verdictOfCeiling(ceiling, 0.95);
    expect(verdict).toMatchObject({ passed: false, morePairs: 0, notDistillable: true });
    expect(verdict!.reason).toContain('80 of 120');
    expect(verdictOfCeiling(ceiling, 0.7), 'a goal that it may reach').toBeUndefined();
  });

  test('is asked for once, and holds for later runs of the same task and teacher', async () => {
    const first = await ceilingOf('steady', () => 'ham');
    expect(asked).toHaveLength(PAIRS);
    expect(await ceilingOf('steady', () => 'spam')).toEqual(first);
    expect(asked).toHaveLength(0);
    expect(verdictOfCeiling(first, 0.95)).toBeUndefined();
  });

  test('counts only what was answered', async () => {
    const some = await ceilingOf('half', (index) => (index % 2 === 0 ? DeclineReason.INVALID_ANSWER : 'ham'));
    expect(some).toMatchObject({ pairs: PAIRS / 2, agreeing: PAIRS / 2 });
    expect(await ceilingOf('spent', () => DeclineReason.BUDGET)).toBeNull();
  });

  test('takes a small part of the budget at most', async () => {
    expect(await ceilingOf('poor', () => 'ham', PAIRS, 1_000)).toMatchObject({ pairs: 40 });
  });

  test('is the reason that is told where pairs are too few to judge by and their curve leads nowhere', async () => {
    const pairs = dev.slice(0, 20);
    const contradicting = { pairs: 20, agreeing: 6, lowerBound: 0.14, upperBound: 0.51 };
    const verdict = async (found: typeof contradicting, learnt: (train: number) => number) => {
      const task = await keepTask(store.blobs, { name: 'few', goal: { agreement: 0.95, coverage: 0.7 } });
      const curve = [50, 100, 200, 400].map((train) => ({ trainPairs: train, covered: 18, agreeing: learnt(train) }));
      const snapshot = { fingerprint: 'f', trainPairs: 400, devPairs: 20, testPairs: 40 };
      const ceiling = vi.fn(async () => found);
      const report = await evaluate({
        turn: { task: 'few', taskDigest: task.digest, runId: 'run-1', snapshot, curve } as unknown as Turn,
        looks: { expected: async () => 1 } as unknown as Looks,
        ...{ task, dev: pairs, test: pairs, suspects: [] as unknown as SuspectsReport, incumbent: undefined, ceiling },
        // What a verdict before any look does not touch.
        student: undefined as unknown as StudentModel,
        ...{ trainTexts: (async function* () {})(), blobs: store.blobs },
      });
      return { ...report.verdict, ceiling: report.ceiling, asked: ceiling.mock.calls.length };
    };
    const flat = () => 8;
    expect(await verdict(contradicting, flat)).toMatchObject({
      ...{ asked: 1, passed: false, notDistillable: true, ceiling: contradicting },
      reason: expect.stringMatching(/the same answer to 6 of 20 inputs/),
    });
    const steady = { pairs: 20, agreeing: 20, lowerBound: 0.86, upperBound: 1 };
    expect(await verdict(steady, flat)).toMatchObject({
      ...{ asked: 1, passed: false, notDistillable: true, ceiling: steady },
      reason: expect.stringMatching(/no student is near the goal/),
    });
    const steep = (train: number) => 14 + train / 100;
    expect(await verdict(contradicting, steep)).toMatchObject({
      ...{ asked: 0, passed: false, ceiling: null },
      reason: expect.stringMatching(/too few pairs to decide/),
    });
  });

  test('of a teacher that is away is asked for again later', async () => {
    await expect(ceilingOf('away', () => DeclineReason.UNAVAILABLE)).rejects.toThrow(/cannot be asked again/);
    expect(await ceilingOf('away', () => 'ham')).toMatchObject({ pairs: PAIRS });
  });

  test('costs nothing where the task does not ask for it', async () => {
    expect(await ceilingOf('unasked', () => 'ham', 0)).toBeNull();
    expect(asked).toHaveLength(0);
  });
});
