import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import {
  type EvalFailed,
  EvalFailedSchema,
  type EvalPassed,
  EvalPassedSchema,
  type PayloadInit,
  Split,
} from '@understudy/contract';
import { EvaluatorService } from '@understudy/contract/evaluator';
import type { SplitPair } from '@understudy/contract/pair-store';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import type { RunningService } from '@understudy/service/lifecycle';
import { startService } from '@understudy/service/lifecycle';
import { createClient, type RpcClient } from '@understudy/service/rpc/client';
import { Telemetry } from '@understudy/service/telemetry';
import { type TestBus, testBus } from '@understudy/service/testing';
import { parsePolicy } from '@understudy/student';
import { type CompiledTask, sha256Hex } from '@understudy/task';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CancelledRuns } from './cancelled-runs.ts';
import { config } from './config.ts';
import { MIN_DEV_PAIRS } from './limits.ts';
import { onStudentTrained } from './on-student-trained.ts';
import { ReportSchema } from './report.ts';
import { contextOf, definition } from './service.ts';
import { levelOfLook } from './statistics/level.ts';
import { corpus, keepStudent, keepTask, SnapshotServer, type Trained, temporaryBlobs, trainSmall } from './testing.ts';

let server: TestBus;
let pairStore: SnapshotServer;
let store: Awaited<ReturnType<typeof temporaryBlobs>>;
let blobs: BlobStore;
let evaluator: RunningService;
let client: RpcClient<typeof EvaluatorService>;
let pairs: SplitPair[];
let good: Trained;

const environment = () => ({
  NATS_URL: server.server.url,
  PAIR_STORE_ADDRESS: pairStore.address,
  DATA_DIR: store.folder,
  LOG_LEVEL: 'fatal',
});

beforeAll(async () => {
  server = await testBus();
  store = await temporaryBlobs();
  blobs = store.blobs;
  pairStore = await SnapshotServer.start(server.telemetry);
  pairs = corpus({ seed: 1, train: 600, dev: 200, test: 400 });
  good = await trainSmall(pairs);
  evaluator = await startService(definition, environment(), { blobs });
  client = createClient(EvaluatorService, { address: `127.0.0.1:${evaluator.grpcPort}` });
});
afterAll(async () => {
  client.close();
  await evaluator.stop();
  await pairStore[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  await store[Symbol.asyncDispose]();
});

/** An event about a student of these pairs, everything that it names in place. */
async function event(task: CompiledTask, runId: string, of: readonly SplitPair[] = pairs, trained = good) {
  const snapshot = pairStore.add(of);
  const student = await keepStudent(blobs, trained, task, snapshot.digest);
  return { runId, task: task.task.name, taskDigest: task.digest, seal: 1, snapshot, student } satisfies Payload;
}
type Payload = PayloadInit<'student.trained'>;

let published = 0;
/** Each time a message of its own, also for the same payload: what a replay is. */
const publish = (payload: Payload) =>
  server.publisher.publish({ type: 'student.trained', entity: `message-${++published}`, payload });

/** Verdicts of a task, once there are so many. */
async function verdicts(task: CompiledTask, count: number): Promise<((EvalPassed | EvalFailed) & { type: string })[]> {
  const filter_subjects = ['passed', 'failed'].map((verdict) => `eval.${verdict}.${task.task.name}`);
  const consumer = await server.bus.js.consumers.get('FACTS', { filter_subjects });
  const found: ((EvalPassed | EvalFailed) & { type: string })[] = [];
  while (found.length < count) {
    const message = await consumer.next({ expires: 30_000 });
    if (!message) throw new Error(`expected ${count} verdicts of ${task.task.name}, got ${found.length}`);
    const passed = message.subject.startsWith('eval.passed');
    const payload = fromBinary(passed ? EvalPassedSchema : EvalFailedSchema, message.data);
    found.push({ ...payload, type: passed ? 'passed' : 'failed' } as (typeof found)[number]);
  }
  return found;
}

const ledgerOf = async (task: CompiledTask) => {
  const entry = await (await server.bus.bucket('looks')).get(task.task.name);
  return entry ? (entry.json() as { looks: number }).looks : 0;
};

describe('a student that agrees', () => {
  let task: CompiledTask;
  let payload: Payload;
  beforeAll(async () => {
    task = await keepTask(blobs, { name: 'agreeing' });
    payload = await event(task, 'run-1');
    await publish(payload);
  });

  test('passes, with a report that holds the proof', async () => {
    const [verdict] = await verdicts(task, 1);
    expect(verdict).toMatchObject({ type: 'passed', runId: 'run-1', taskDigest: task.digest, seal: 1 });
    const summary = verdict!.summary!;
    expect(summary).toMatchObject({
      studentDigest: payload.student!.digest,
      snapshotDigest: payload.snapshot!.digest,
      testPairs: 400,
      look: 1,
      studentSizeBytes: payload.student!.sizeBytes,
    });
    expect(summary.selectiveAgreementLowerBound).toBeGreaterThanOrEqual(0.9);
    expect(summary.selectiveAgreementLowerBound).toBeLessThan(summary.selectiveAgreement);
    expect(summary.coverageLowerBound).toBeGreaterThanOrEqual(0.7);
    expect(summary.deliveredAgreement).toBeGreaterThanOrEqual(summary.selectiveAgreement);

    const json = new TextDecoder().decode(await blobs.get('reports', summary.reportDigest));
    const report = ReportSchema.parse(JSON.parse(json));
    expect(report.gates.map(({ name, passed }) => [name, passed])).toEqual([
      ['agreement', true],
      ['coverage', true],
      ['latencyMs', true],
      ['sizeBytes', true],
    ]);
    expect(report.test!.level).toBeCloseTo(levelOfLook(0.05, 1), 12);
    expect(report.test!.classes.map(({ label }) => label)).toEqual(['ham', 'spam']);
    expect(report.test!.classes.reduce((sum, row) => sum + row.pairs, 0)).toBe(400);
    expect(report.test!.byRequests.requests).toBe(
      pairs.filter(({ split }) => split === Split.TEST).reduce((sum, { weight }) => sum + weight, 0),
    );
    // Half of the pairs have a reference, and this teacher is never wrong.
    expect(report.test!.accuracy).toMatchObject({ pairs: 200, teacher: 1, selectiveTeacher: 1 });
    expect(report.test!.accuracy!.delivered).toBeGreaterThanOrEqual(report.test!.accuracy!.student);
    expect(report.costs!.teacher).toMatchObject({
      medianLatencyMs: expect.closeTo(25, 0),
      usdPerThousand: expect.closeTo(0.15, 6),
    });
    expect(report.costs!.student.medianLatencyMs).toBeLessThanOrEqual(report.costs!.student.p99LatencyMs);
    expect(report.costs!.deliveredUsdPerThousand).toBeLessThan(0.15);

    const policy = parsePolicy(new TextDecoder().decode(await blobs.get('policies', summary.policyDigest)));
    expect(policy).toMatchObject({ studentDigest: payload.student!.digest, field: 'label', labels: ['ham', 'spam'] });
    expect(policy.threshold).toBe(summary.confidenceThreshold);
    expect(report.dev!.negativeLogLikelihood.calibrated).toBeLessThanOrEqual(
      report.dev!.negativeLogLikelihood.uncalibrated,
    );
  });

  test('has a report that can be asked for, and no report that it did not write', async () => {
    const [verdict] = await verdicts(task, 1);
    const { reportDigest } = verdict!.summary!;
    const response = await client.getReport({ reportDigest });
    expect(response).toMatchObject({
      passed: true,
      task: 'agreeing',
      taskDigest: task.digest,
      runId: 'run-1',
      sequence: 1n,
    });
    expect(response.summary).toEqual(verdict!.summary);
    expect(sha256Hex(response.reportJson)).toBe(reportDigest);

    const forged = await blobs.put('reports', new TextEncoder().encode(response.reportJson.replace('run-1', 'run-2')));
    for (const unknown of [forged, 'a'.repeat(64), 'no digest', '']) {
      await expect(client.getReport({ reportDigest: unknown })).rejects.toThrow(/wrote no report/);
    }
    await expect(client.listReports({ task: 'no task!' })).rejects.toThrow(/expected 1 to 48/);
    expect(await client.listReports({ task: 'unheard-of' })).toMatchObject({ reports: [] });
  });

  test('is judged once: a replay tells the same report again and looks at nothing', async () => {
    await publish(payload);
    await publish(payload);
    await expect
      .poll(async () => {
        const { num_pending, num_ack_pending } = await server.bus.jsm.consumers.info('FACTS', 'evaluator-students');
        return num_pending + num_ack_pending;
      })
      .toBe(0);
    const facts = await server.bus.jsm.streams.info('FACTS', { subjects_filter: 'eval.*.agreeing' });
    expect(facts.state.subjects).toEqual({ 'eval.passed.agreeing': 1 });
    expect(await ledgerOf(task)).toBe(1);
    const { reports } = await client.listReports({ task: 'agreeing' });
    expect(reports.map(({ sequence }) => sequence)).toEqual([1n]);
  });

  test('pays a stricter level at the next look, whatever run and version of the task it is', async () => {
    const [first] = await verdicts(task, 1);
    const renamed = await keepTask(blobs, { name: 'agreeing', description: 'changed' });
    await publish(await event(renamed, 'run-2'));
    const [, second] = await verdicts(task, 2);
    expect(second).toMatchObject({ runId: 'run-2', taskDigest: renamed.digest, summary: { look: 2 } });
    expect(second!.summary!.coverageLowerBound).toBeLessThan(second!.summary!.coverage);
    const { reports } = await client.listReports({ task: 'agreeing' });
    expect(reports.map(({ sequence }) => sequence)).toEqual([2n, 1n]);
    const [newest, oldest] = reports.map(({ reportJson }) => ReportSchema.parse(JSON.parse(reportJson)));
    expect(oldest!.test).toMatchObject({ look: 1, pairsSeenBefore: 0 });
    expect(newest!.test).toMatchObject({ look: 2, pairsSeenBefore: 400 });
    expect(newest!.test!.level).toBeCloseTo(levelOfLook(0.05, 2), 12);
    expect(newest!.student.digest).not.toBe(first!.summary!.studentDigest);
  });
});

describe('a student that cannot pass', () => {
  test('fails with what would help, and the estimate grows with the goal', async () => {
    const noisy = corpus({ seed: 2, train: 600, dev: 200, test: 400, noise: 0.24 });
    const trained = await trainSmall(noisy);
    const near = await keepTask(blobs, { name: 'near', goal: { agreement: 0.87, coverage: 0.7, latencyMs: 500 } });
    const far = await keepTask(blobs, { name: 'far', goal: { agreement: 0.98, coverage: 0.9, latencyMs: 500 } });
    await publish(await event(near, 'run-near', noisy, trained));
    await publish(await event(far, 'run-far', noisy, trained));
    const [[close], [distant]] = [await verdicts(near, 1), await verdicts(far, 1)];
    expect(close).toMatchObject({
      type: 'failed',
      reason: expect.stringMatching(/agreement not proven: .* about \d+ further pairs/),
    });
    expect((close as EvalFailed).morePairs).toBeGreaterThan(0);
    expect(distant).toMatchObject({
      type: 'failed',
      morePairs: 0,
      reason: expect.stringMatching(/cannot be distilled/),
    });
    const { reports } = await client.listReports({ task: 'near' });
    expect(reports[0]).toMatchObject({ passed: false, sequence: 1n });
    expect(JSON.parse(reports[0]!.reportJson).verdict.assumptions).toMatch(/an estimate/);
    // Nothing that the prompt service hears says which test pair was answered how.
    expect((close as EvalFailed).reason).not.toMatch(/#\d/);
  });

  test('fails for its size and its latency, whatever it agrees on', async () => {
    const small = await keepTask(blobs, {
      name: 'tiny',
      goal: { agreement: 0.9, coverage: 0.7, latencyMs: 0.000_1, sizeBytes: 10 },
    });
    await publish(await event(small, 'run-tiny'));
    const [verdict] = await verdicts(small, 1);
    expect(verdict).toMatchObject({ type: 'failed', morePairs: 0 });
    expect((verdict as EvalFailed).reason).toMatch(
      /too slow: .*goal 0.0001 ms; too large: \d+ bytes, goal 10 bytes; more pairs do not change that/,
    );
  });

  const withoutLook: [string, Record<string, unknown>, () => SplitPair[], RegExp, boolean][] = [
    [
      'no-test',
      {},
      () => pairs.filter(({ split }) => split !== Split.TEST),
      /too few pairs to decide: 200 in dev and 0 in test/,
      true,
    ],
    [
      'few-test',
      {},
      () => [...pairs.filter(({ split }) => split !== Split.TEST), ...pairs.slice(-20)],
      /200 in dev and 20 in test/,
      true,
    ],
    [
      'few-dev',
      {},
      () => pairs.filter(({ split }, index) => split !== Split.DEV || index < 600 + MIN_DEV_PAIRS - 1),
      /49 in dev and 400 in test/,
      true,
    ],
    [
      'one-label',
      {},
      () => corpus({ seed: 3, train: 600, dev: 200, test: 400, onlyLabel: 0 }),
      /all 200 dev pairs the label "ham"/,
      false,
    ],
    [
      'perfect',
      { goal: { agreement: 1 } },
      () => pairs,
      /goal.agreement is 1, and no test of finite size proves that/,
      false,
    ],
  ];
  test.each(withoutLook)('fails without a look at test: %s', async (name, changes, given, reason, morePairs) => {
    const task = await keepTask(blobs, { name, ...changes });
    await publish(await event(task, `run-${name}`, given()));
    const [verdict] = (await verdicts(task, 1)) as EvalFailed[];
    expect(verdict).toMatchObject({ type: 'failed', reason: expect.stringMatching(reason) });
    expect(verdict!.morePairs > 0).toBe(morePairs);
    expect(verdict!.summary).toMatchObject({ look: 0, policyDigest: '', testPairs: 0 });
    expect(await ledgerOf(task)).toBe(0);
    const response = await client.getReport({ reportDigest: verdict!.summary!.reportDigest });
    expect(JSON.parse(response.reportJson)).toMatchObject({ test: null, policy: null });
  });
});

describe('an event that cannot be right', () => {
  test('becomes a dead letter with its reason, and no look is spent', async () => {
    const task = await keepTask(blobs, { name: 'broken' });
    const payload = await event(task, 'run-broken');
    const corrupt = await event(task, 'run-corrupt', pairs.slice(0, -1));
    await writeFile(join(store.folder, 'students', corrupt.student.digest), 'damaged');
    const noBundle = await blobs.put('students', new TextEncoder().encode('no archive at all'));
    const broken: [string, Payload, RegExp][] = [
      ['no student', { ...payload, student: undefined }, /student.digest: expected 64 hex digits/],
      [
        'unknown student',
        { ...payload, student: { ...payload.student, digest: 'a'.repeat(64) } },
        /students\/aaaa.* cannot be used/,
      ],
      ['damaged bundle', corrupt, /cannot be used: .*is damaged/],
      ['no bundle', { ...payload, student: { digest: noBundle, sizeBytes: 17n } }, /is no sound bundle/],
      ['another size', { ...payload, student: { ...payload.student, sizeBytes: 1n } }, /has 1 bytes, its bundle has/],
      [
        'another snapshot',
        { ...payload, snapshot: { ...payload.snapshot, digest: 'b'.repeat(64) } },
        /is not of this run/,
      ],
      [
        'missing pairs',
        { ...payload, snapshot: { ...payload.snapshot, testPairs: 401 } },
        /says 401 pairs, the pair store gave 400/,
      ],
      ['unknown task', { ...payload, taskDigest: 'c'.repeat(64) }, /tasks\/cccc.* cannot be used/],
      ['another task', { ...payload, task: 'agreeing' }, /holds broken/],
    ];
    for (const [index, [, given, reason]] of broken.entries()) {
      await publish(given);
      const letter = (await server.deadLetters(index + 1)).at(-1)!;
      expect(letter).toMatchObject({
        consumer: 'evaluator-students',
        runId: given.runId,
        reason: expect.stringMatching(reason),
      });
    }
    expect(await ledgerOf(task)).toBe(0);
  });
});

describe('interruptions', () => {
  /** An evaluator without its consumer: its handler is called by hand. */
  const contextWith = (changes: { blobs?: BlobStore; pairStoreAddress?: string } = {}) =>
    contextOf({
      ...server,
      name: 'evaluator',
      telemetry: new Telemetry({ service: 'evaluator', logLevel: 'fatal' }),
      config: config.parse({
        ...environment(),
        PAIR_STORE_ADDRESS: changes.pairStoreAddress ?? pairStore.address,
      }),
      blobs: changes.blobs ?? blobs,
      rpcToken: undefined,
    });
  const delivered = (payload: Payload) => ({
    type: 'student.trained' as const,
    payload: { $typeName: 'understudy.event.v1.StudentTrained', trainingMs: 0n, ...payload } as never,
    id: 'id',
    traceparent: undefined,
    deliveries: 1,
    signal: new AbortController().signal,
  });

  test('between look and report: the same look is resumed, with the same outcome', async () => {
    const task = await keepTask(blobs, { name: 'interrupted' });
    const payload = await event(task, 'run-interrupted');
    const chosen: string[] = [];
    const failing = new Proxy(blobs, {
      get(target, name) {
        if (name === 'put') {
          return async (kind: string, content: Uint8Array) => {
            if (kind === 'reports') throw new Error('the process dies here');
            const digest = await target.put(kind, content);
            if (kind === 'policies') chosen.push(digest);
            return digest;
          };
        }
        const member: unknown = Reflect.get(target, name, target);
        return typeof member === 'function' ? member.bind(target) : member;
      },
    });
    const dying = await contextWith({ blobs: failing });
    await expect(onStudentTrained(dying, delivered(payload))).rejects.toThrow('the process dies here');
    dying.pairStore.close();
    expect(await ledgerOf(task)).toBe(1);
    await publish(payload);
    const [verdict] = await verdicts(task, 1);
    expect(verdict).toMatchObject({ type: 'passed', summary: { look: 1, policyDigest: chosen[0] } });
    expect(await ledgerOf(task)).toBe(1);
  });

  test('two evaluators at once: one look, one report', async () => {
    const task = await keepTask(blobs, { name: 'raced' });
    const payload = await event(task, 'run-raced');
    const contexts = [await contextWith(), await contextWith(), await contextWith()];
    await Promise.all(contexts.map((context) => onStudentTrained(context, delivered(payload))));
    for (const context of contexts) context.pairStore.close();
    const facts = await server.bus.jsm.streams.info('FACTS', { subjects_filter: 'eval.passed.raced' });
    expect(facts.state.subjects).toEqual({ 'eval.passed.raced': 1 });
    expect(await ledgerOf(task)).toBe(1);
    expect((await client.listReports({ task: 'raced' })).reports).toHaveLength(1);
  });

  test('a cancelled run is neither judged nor told of', async () => {
    const task = await keepTask(blobs, { name: 'cancelled' });
    const payload = await event(task, 'run-cancelled');
    const { runId, task: name, taskDigest } = payload;
    await server.publisher.publish({
      type: 'run.cancelled',
      entity: runId,
      payload: { runId, task: name, taskDigest, reason: 'enough' },
    });
    const cancelled = new CancelledRuns();
    cancelled.start(server.bus, server.telemetry);
    await expect.poll(() => cancelled.has(runId)).toBe(true);
    const context = { ...(await contextWith()), cancelled };
    await onStudentTrained(context, delivered(payload));
    await cancelled.stop();
    context.pairStore.close();
    expect(await ledgerOf(task)).toBe(0);
    expect((await client.listReports({ task: 'cancelled' })).reports).toEqual([]);
  });

  test('a pair store that is away is waited for', async () => {
    const task = await keepTask(blobs, { name: 'waiting' });
    const payload = await event(task, 'run-waiting');
    const context = await contextWith({ pairStoreAddress: '127.0.0.1:1' });
    await expect(onStudentTrained(context, delivered(payload))).rejects.toMatchObject({ name: 'RetryableError' });
    context.pairStore.close();
    expect(await ledgerOf(task)).toBe(0);
  });
});
