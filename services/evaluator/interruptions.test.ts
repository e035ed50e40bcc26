import { create } from '@bufbuild/protobuf';
import { StudentTrainedSchema } from '@understudy/contract';
import { ListReportsRequestSchema } from '@understudy/contract/evaluator';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import type { Event } from '@understudy/service/bus/settle';
import { RetryableError } from '@understudy/service/errors';
import { Telemetry } from '@understudy/service/telemetry';
import type { CompiledTask } from '@understudy/task';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CancelledRuns } from './cancelled-runs.ts';
import { config } from './config.ts';
import { onStudentTrained } from './on-student-trained.ts';
import { listReports } from './routes/list-reports.ts';
import { contextOf } from './service.ts';
import { Bench, type StudentTrainedInit } from './testing/bench.ts';
import { keepTask } from './testing/corpus.ts';

let bench: Bench;
beforeAll(async () => {
  bench = await Bench.start();
});
afterAll(() => bench[Symbol.asyncDispose]());

/** An evaluator without its consumer: its handler is called by hand. */
const evaluatorWith = (changes: { blobs?: BlobStore; pairStoreAddress?: string } = {}) =>
  contextOf({
    ...bench.server,
    name: 'evaluator',
    telemetry: new Telemetry({ service: 'evaluator', logLevel: 'fatal' }),
    config: config.parse({
      ...bench.environment,
      PAIR_STORE_ADDRESS: changes.pairStoreAddress ?? bench.pairStore.address,
    }),
    blobs: changes.blobs ?? bench.blobs,
    rpcToken: undefined,
    idKey: undefined,
  });

const delivery = (payload: StudentTrainedInit): Event<'student.trained'> => ({
  type: 'student.trained',
  payload: create(StudentTrainedSchema, payload),
  id: 'id',
  traceparent: undefined,
  deliveries: 1,
  signal: new AbortController().signal,
});

/** The same blobs, with something that happens just before one is put. */
const beforePut = (blobs: BlobStore, happens: (kind: string) => Promise<void>): BlobStore =>
  new Proxy(blobs, {
    get(target, name) {
      if (name === 'put') {
        return async (kind: string, content: Uint8Array) => {
          await happens(kind);
          return target.put(kind, content);
        };
      }
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });

const verdictsToldOf = async (task: CompiledTask) => {
  const subjects_filter = `eval.*.${task.task.name}`;
  const { state } = await bench.server.bus.jsm.streams.info('FACTS', { subjects_filter });
  return state.subjects ?? {};
};

test('a process that dies between look and report: the same look is resumed', async () => {
  const task = await keepTask(bench.blobs, { name: 'interrupted' });
  const payload = await bench.event(task, 'run-interrupted');
  const dying = await evaluatorWith({
    blobs: beforePut(bench.blobs, async (kind) => {
      if (kind === 'reports') throw new Error('the process dies here');
    }),
  });
  await expect(onStudentTrained(dying, delivery(payload))).rejects.toThrow('the process dies here');
  dying.pairStore.close();
  expect(await bench.looksOf(task)).toBe(1);
  expect(await verdictsToldOf(task)).toEqual({});

  const next = await evaluatorWith();
  await onStudentTrained(next, delivery(payload));
  next.pairStore.close();
  const [verdict] = await bench.verdicts(task, 1);
  expect(verdict).toMatchObject({ type: 'passed', summary: { look: 1 } });
  expect(await bench.looksOf(task)).toBe(1);
});

test('evaluators at once: one look, one report, one verdict', async () => {
  const task = await keepTask(bench.blobs, { name: 'raced' });
  const payload = await bench.event(task, 'run-raced');
  const evaluators = [await evaluatorWith(), await evaluatorWith(), await evaluatorWith()];
  await Promise.all(evaluators.map((evaluator) => onStudentTrained(evaluator, delivery(payload))));
  expect(await verdictsToldOf(task)).toEqual({ 'eval.passed.raced': 1 });
  expect(await bench.looksOf(task)).toBe(1);
  expect((await listReports(evaluators[0]!, create(ListReportsRequestSchema, { task: 'raced' }))).reports).toHaveLength(
    1,
  );
  for (const evaluator of evaluators) evaluator.pairStore.close();
});

test.each([
  ['before', 0],
  ['while', 1],
])('nothing is told of a run that is cancelled %s its student is judged', async (when, looks) => {
  const task = await keepTask(bench.blobs, { name: `cancelled-${when}` });
  const payload = await bench.event(task, `run-cancelled-${when}`);
  const { runId, task: name, taskDigest } = payload;
  const cancelled = new CancelledRuns();
  cancelled.start(bench.server.bus, bench.server.telemetry);
  const cancel = async () => {
    const fact = { runId, task: name, taskDigest, reason: 'enough' };
    await bench.server.publisher.publish({ type: 'run.cancelled', entity: runId, payload: fact });
    await expect.poll(() => cancelled.has(runId)).toBe(true);
  };
  if (when === 'before') await cancel();
  const blobs = beforePut(bench.blobs, (kind) => (kind === 'reports' ? cancel() : Promise.resolve()));
  const evaluator = { ...(await evaluatorWith({ blobs })), cancelled };
  await onStudentTrained(evaluator, delivery(payload));
  await cancelled.stop();
  evaluator.pairStore.close();
  expect(await bench.looksOf(task)).toBe(looks);
  expect(await verdictsToldOf(task)).toEqual({});
});

test('a pair store that is away is waited for', async () => {
  const task = await keepTask(bench.blobs, { name: 'waiting' });
  const payload = await bench.event(task, 'run-waiting');
  const evaluator = await evaluatorWith({ pairStoreAddress: '127.0.0.1:1' });
  await expect(onStudentTrained(evaluator, delivery(payload))).rejects.toBeInstanceOf(RetryableError);
  evaluator.pairStore.close();
  expect(await bench.looksOf(task)).toBe(0);
});
