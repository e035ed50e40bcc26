import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CandidateStatus, type EvalFailed, Split } from '@understudy/contract';
import { EvaluatorService } from '@understudy/contract/evaluator';
import type { SplitPair } from '@understudy/contract/pair-store';
import { type RunningService, startService } from '@understudy/service/lifecycle';
import { createClient, type RpcClient } from '@understudy/service/rpc/client';
import { parsePolicy, policyJson } from '@understudy/student';
import { levelOfLook } from '@understudy/student/statistics/level';
import { MIN_DEV_PAIRS } from '@understudy/student/statistics/threshold';
import { type CompiledTask, sha256Hex } from '@understudy/task';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { ReportSchema } from './report.ts';
import { definition } from './service.ts';
import { Bench, type StudentTrainedInit } from './testing/bench.ts';
import { corpus, keepTask, smallTraining } from './testing/corpus.ts';

let bench: Bench;
let evaluator: RunningService;
let client: RpcClient<typeof EvaluatorService>;

beforeAll(async () => {
  bench = await Bench.start();
  evaluator = await startService(definition, bench.environment, { blobs: bench.blobs });
  client = createClient(EvaluatorService, { address: `127.0.0.1:${evaluator.grpcPort}` });
});
afterAll(async () => {
  client.close();
  await evaluator.stop();
  await bench[Symbol.asyncDispose]();
});

/** What the trainer may say of its search. */
const CANDIDATES = [
  {
    ...{ name: 'bag', family: 'bag', status: CandidateStatus.TRAINED, onFront: true, digest: 'e' },
    ...{ devAgreement: 0.96, devCoverage: 0.85, sizeBytes: 1_000n, latencyUs: 90n, trainingMs: 9_000n },
  },
  { name: 'conv', family: 'conv', status: CandidateStatus.SKIPPED, reason: 'not needed' },
];

describe('a student that agrees', () => {
  let task: CompiledTask;
  let payload: StudentTrainedInit;
  beforeAll(async () => {
    task = await keepTask(bench.blobs, { name: 'agreeing' });
    payload = { ...(await bench.event(task, 'run-1')), candidates: CANDIDATES };
    await bench.publish(payload);
  });

  test('passes, with a report that holds the proof', async () => {
    const [verdict] = await bench.verdicts(task, 1);
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

    const json = new TextDecoder().decode(await bench.blobs.get('reports', summary.reportDigest));
    const report = ReportSchema.parse(JSON.parse(json));
    expect(report.candidates).toEqual([
      {
        ...{ name: 'bag', status: 'trained', reason: '', onFront: true },
        trained: { digest: 'e', agreement: 0.96, coverage: 0.85, sizeBytes: 1_000, latencyUs: 90, trainingMs: 9_000 },
      },
      { name: 'conv', status: 'skipped', reason: 'not needed', onFront: false, trained: null },
    ]);
    expect(report.gates.map(({ name, passed }) => [name, passed])).toEqual([
      ['agreement', true],
      ['coverage', true],
      ['latencyMs', true],
      ['sizeBytes', true],
      ['floors', true],
    ]);
    expect(report.test!.level).toBeCloseTo(levelOfLook(0.05, 1), 12);
    expect(report.test!.classes.map(({ label }) => label)).toEqual(['ham', 'spam']);
    expect(report.test!.classes.reduce((sum, row) => sum + row.pairs, 0)).toBe(400);
    expect(report.test!.byRequests.requests).toBe(
      bench.pairs.filter(({ split }) => split === Split.TEST).reduce((sum, { weight }) => sum + weight, 0),
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

    const policy = parsePolicy(new TextDecoder().decode(await bench.blobs.get('policies', summary.policyDigest)));
    expect(policy).toMatchObject({ studentDigest: payload.student!.digest, heads: [{ name: 'label' }] });
    expect(policy.threshold).toBe(summary.confidenceThreshold);
    expect(report.dev!.negativeLogLikelihood.calibrated).toBeLessThanOrEqual(
      report.dev!.negativeLogLikelihood.uncalibrated,
    );
  });

  test('has a report that can be asked for, and no report that it did not write', async () => {
    const [verdict] = await bench.verdicts(task, 1);
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

    const forged = await bench.blobs.put(
      'reports',
      new TextEncoder().encode(response.reportJson.replace('run-1', 'run-2')),
    );
    for (const unknown of [forged, 'a'.repeat(64), 'no digest', '']) {
      await expect(client.getReport({ reportDigest: unknown })).rejects.toThrow(/wrote no report/);
    }
    await expect(client.listReports({ task: 'no task!' })).rejects.toThrow(/expected 1 to 48/);
    expect(await client.listReports({ task: 'unheard-of' })).toMatchObject({ reports: [] });
  });

  test('is judged once: a replay tells the same report again and looks at nothing', async () => {
    await bench.publish(payload);
    await bench.publish(payload);
    await bench.idle('evaluator-students');
    const facts = await bench.server.bus.jsm.streams.info('FACTS', { subjects_filter: 'eval.*.agreeing' });
    expect(facts.state.subjects).toEqual({ 'eval.passed.agreeing': 1 });
    expect(await bench.looksOf(task)).toBe(1);
    const { reports } = await client.listReports({ task: 'agreeing' });
    expect(reports.map(({ sequence }) => sequence)).toEqual([1n]);
  });

  test('pays a stricter level at the next look, whatever run and version of the task it is', async () => {
    const [first] = await bench.verdicts(task, 1);
    const renamed = await keepTask(bench.blobs, { name: 'agreeing', description: 'changed' });
    await bench.publish(await bench.event(renamed, 'run-2'));
    const [, second] = await bench.verdicts(task, 2);
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
    const trained = smallTraining(noisy);
    const near = await keepTask(bench.blobs, {
      name: 'near',
      goal: { agreement: 0.87, coverage: 0.7, latencyMs: 500 },
    });
    const far = await keepTask(bench.blobs, { name: 'far', goal: { agreement: 0.98, coverage: 0.9, latencyMs: 500 } });
    await bench.publish(await bench.event(near, 'run-near', noisy, trained));
    await bench.publish(await bench.event(far, 'run-far', noisy, trained));
    const [[close], [distant]] = [await bench.verdicts(near, 1), await bench.verdicts(far, 1)];
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

  test('of a task that cannot be distilled fails on dev and its curve alone: no look is spent, no pair more asked for', async () => {
    const tossed = corpus({ seed: 5, train: 600, dev: 200, test: 400, noise: 1 });
    const task = await keepTask(bench.blobs, { name: 'tossed', budget: { calls: 8_000, usd: 100 } });
    const event = await bench.event(task, 'run-1', tossed, smallTraining(tossed));
    const curve = [75, 150, 300, 600].map((trainPairs, i) => ({ trainPairs, covered: 160, agreeing: 78 + (i % 3) }));
    await bench.publish({ ...event, curve });
    const [verdict] = await bench.verdicts(task, 1);
    expect(verdict).toMatchObject({ type: 'failed', morePairs: 0, notDistillable: true, summary: { look: 0 } });
    expect((verdict as EvalFailed).reason).toContain('cannot be distilled');
    expect(await bench.looksOf(task)).toBe(0);
    const { reports } = await client.listReports({ task: 'tossed' });
    const report = ReportSchema.parse(JSON.parse(reports[0]!.reportJson));
    expect(report).toMatchObject({
      test: null,
      gates: [],
      learningCurve: { reaches: 0, furtherPairs: { value: null } },
    });
    expect(report.dev!.pairs).toBe(200);
  });

  test('of a teacher that contradicts itself on everything fails a look, whatever anybody says of its curve', async () => {
    const tossed = corpus({ seed: 6, train: 600, dev: 200, test: 400, noise: 1 });
    const task = await keepTask(bench.blobs, { name: 'moody' });
    await bench.publish(await bench.event(task, 'run-1', tossed, smallTraining(tossed)));
    const [verdict] = (await bench.verdicts(task, 1)) as EvalFailed[];
    expect(verdict).toMatchObject({
      type: 'failed',
      morePairs: 0,
      reason: expect.stringMatching(/agreement not proven/),
    });
  });

  test('against a student in service that is as good: too few pairs prove nothing', async () => {
    const goal = { agreement: 0.9, coverage: 0.7, latencyMs: 500, nonInferiorityMargin: 0.005 };
    const task = await keepTask(bench.blobs, { name: 'served', goal });
    const event = await bench.event(task, 'run-1', bench.pairs, smallTraining(bench.pairs, 3));
    const { student, snapshot } = await bench.event(task, 'run-0');
    const policy = {
      version: 2 as const,
      studentDigest: student.digest,
      heads: [{ name: 'label', temperature: 1 }],
      threshold: 0,
    };
    const policyDigest = await bench.blobs.put('policies', new TextEncoder().encode(policyJson(policy)));
    const deployments = await bench.server.bus.bucket('deployments');
    const deployment = { task: 'served', studentDigest: student.digest, policyDigest, generation: '1' };
    await deployments.put('served', JSON.stringify(deployment));
    await bench.publish({ ...event, snapshot });
    const [verdict] = await bench.verdicts(task, 1);
    expect(verdict).toMatchObject({ type: 'failed', runId: 'run-1' });
    expect((verdict as EvalFailed).reason).toMatch(
      /no worse than the student in service: of the 400 test pairs.*(if both go on as they did|in service stays)/,
    );
    const { reports } = await client.listReports({ task: 'served' });
    const report = ReportSchema.parse(JSON.parse(reports[0]!.reportJson));
    expect(report.incumbent).toMatchObject({ digest: student.digest, pairs: 400 });
    expect(report.gates.filter(({ passed }) => !passed).map(({ name }) => name)).toEqual(['incumbent']);
  });

  test('fails for its size and its latency, whatever it agrees on', async () => {
    const small = await keepTask(bench.blobs, {
      name: 'tiny',
      goal: { agreement: 0.9, coverage: 0.7, latencyMs: 0.000_1, sizeBytes: 10 },
    });
    await bench.publish(await bench.event(small, 'run-tiny'));
    const [verdict] = await bench.verdicts(small, 1);
    expect(verdict).toMatchObject({ type: 'failed', morePairs: 0 });
    expect((verdict as EvalFailed).reason).toMatch(
      /too slow: .*goal 0.0001 ms; too large: \d+ bytes, goal 10 bytes; more pairs do not change that/,
    );
  });

  const withoutLook: [string, Record<string, unknown>, () => readonly SplitPair[], RegExp, boolean][] = [
    [
      'no-test',
      {},
      () => bench.pairs.filter(({ split }) => split !== Split.TEST),
      /too few pairs to decide: 200 in dev and 0 in test/,
      true,
    ],
    [
      'few-test',
      {},
      () => [...bench.pairs.filter(({ split }) => split !== Split.TEST), ...bench.pairs.slice(-20)],
      /200 in dev and 20 in test/,
      true,
    ],
    [
      'few-dev',
      {},
      () => bench.pairs.filter(({ split }, index) => split !== Split.DEV || index < 600 + MIN_DEV_PAIRS - 1),
      /49 in dev and 400 in test/,
      true,
    ],
    [
      'one-label',
      {},
      () => corpus({ seed: 3, train: 600, dev: 200, test: 400, onlyLabel: 0 }),
      /all 200 dev pairs the answer ham/,
      false,
    ],
    [
      'perfect',
      { goal: { agreement: 1 } },
      () => bench.pairs,
      /goal.agreement is 1, and no test of finite size proves that/,
      false,
    ],
  ];
  test.each(withoutLook)('fails without a look at test: %s', async (name, changes, given, reason, morePairs) => {
    const task = await keepTask(bench.blobs, { name, ...changes });
    await bench.publish(await bench.event(task, `run-${name}`, given()));
    const [verdict] = (await bench.verdicts(task, 1)) as EvalFailed[];
    expect(verdict).toMatchObject({ type: 'failed', reason: expect.stringMatching(reason) });
    expect(verdict!.morePairs > 0).toBe(morePairs);
    expect(verdict!.summary).toMatchObject({ look: 0, policyDigest: '', testPairs: 0 });
    expect(await bench.looksOf(task)).toBe(0);
    const response = await client.getReport({ reportDigest: verdict!.summary!.reportDigest });
    expect(JSON.parse(response.reportJson)).toMatchObject({ test: null, policy: null });
  });
});

describe('an event that cannot be right', () => {
  test('becomes a dead letter with its reason, and no look is spent', async () => {
    const task = await keepTask(bench.blobs, { name: 'broken' });
    const payload = await bench.event(task, 'run-broken');
    const corrupt = await bench.event(task, 'run-corrupt', bench.pairs.slice(0, -1));
    await writeFile(join(bench.store.folder, 'students', corrupt.student.digest), 'damaged');
    const noBundle = await bench.blobs.put('students', new TextEncoder().encode('no archive at all'));
    const broken: [string, StudentTrainedInit, RegExp][] = [
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
      await bench.publish(given);
      const letter = (await bench.server.deadLetters(index + 1)).at(-1)!;
      expect(letter).toMatchObject({
        consumer: 'evaluator-students',
        runId: given.runId,
        reason: expect.stringMatching(reason),
      });
    }
    expect(await bench.looksOf(task)).toBe(0);
  });
});

test('nothing is promoted over a student in service that cannot be read', async () => {
  const task = await keepTask(bench.blobs, { name: 'lost' });
  const lost = 'b'.repeat(64);
  const deployment = { task: 'lost', studentDigest: lost, policyDigest: lost, generation: '1' };
  await (await bench.server.bus.bucket('deployments')).put('lost', JSON.stringify(deployment));
  await bench.publish(await bench.event(task, 'run-lost'));
  await bench.idle('evaluator-students');
  const letter = (await bench.server.deadLetters(1)).at(-1)!;
  expect(letter).toMatchObject({
    runId: 'run-lost',
    reason: expect.stringContaining(`students/${lost} cannot be used`),
  });
  expect(await bench.looksOf(task)).toBe(0);
});
