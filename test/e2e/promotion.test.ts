import { DeployerService, type Deployment } from '@understudy/contract/deployer';
import { definition as deployer } from '@understudy/deployer/service';
import { definition as evaluator } from '@understudy/evaluator/service';
import { Bench, type VerdictEvent } from '@understudy/evaluator/testing/bench';
import { corpus, keepTask, smallTraining } from '@understudy/evaluator/testing/corpus';
import { type RunningService, startService } from '@understudy/service/lifecycle';
import { createClient, type RpcClient } from '@understudy/service/rpc/client';
import type { CompiledTask } from '@understudy/task';
import { afterAll, beforeAll, expect, test } from 'vitest';

/** From a trained student to its promotion, with both services as they are, and with everything that should not promote. */
let bench: Bench;
const running: RunningService[] = [];
let client: RpcClient<typeof DeployerService>;
let task: CompiledTask;
let promoted: Deployment;
let verdict: VerdictEvent;

beforeAll(async () => {
  bench = await Bench.start();
  const judge = await startService(evaluator, bench.environment, { blobs: bench.blobs });
  const environment = {
    ...bench.environment,
    EVALUATOR_ADDRESS: `127.0.0.1:${judge.grpcPort}`,
    TEACHER_GATEWAY_ADDRESS: '127.0.0.1:1',
  };
  const mover = await startService(deployer, environment, { blobs: bench.blobs });
  running.push(mover, judge);
  client = createClient(DeployerService, { address: `127.0.0.1:${mover.grpcPort}` });

  task = await keepTask(bench.blobs, { name: 'promoting' });
  await bench.publish(await bench.event(task, 'run-1'));
  verdict = await bench.verdictOf(task, 'run-1');
  await bench.idle('deployer-verdicts');
  promoted = (await client.getDeployment({ task: 'promoting' })).deployment!;
});
afterAll(async () => {
  client.close();
  for (const service of running) await service.stop();
  await bench[Symbol.asyncDispose]();
});

const current = async () => (await client.getDeployment({ task: 'promoting' })).deployment!;
let published = 0;
const publishPassed = (payload: object) =>
  bench.server.publisher.publish({ type: 'eval.passed', entity: `message-${++published}`, payload });

test('a student that agrees is promoted, with the policy and the report that prove it', () => {
  expect(promoted).toMatchObject({
    generation: 1n,
    reportSequence: 1n,
    runId: 'run-1',
    taskDigest: task.digest,
    studentDigest: verdict.summary!.studentDigest,
    policyDigest: verdict.summary!.policyDigest,
    reportDigest: verdict.summary!.reportDigest,
  });
});

test('replayed events of the student and of the verdict move nothing', async () => {
  const { runId, taskDigest, seal, summary } = verdict;
  await publishPassed({ runId, task: 'promoting', taskDigest, seal, summary });
  await bench.publish(await bench.event(task, 'run-1'));
  await bench.idle('evaluator-students');
  await bench.idle('deployer-verdicts');
  expect(await current()).toEqual(promoted);
  expect(await bench.looksOf(task)).toBe(1);
});

test('a forged verdict about a student that failed moves nothing', async () => {
  const noisy = corpus({ seed: 9, train: 300, dev: 200, test: 400, noise: 0.5 });
  const failing = await bench.event(task, 'run-2', noisy, smallTraining(noisy, 1));
  await bench.publish(failing);
  const failed = await bench.verdictOf(task, 'run-2');
  expect(failed.type).toBe('failed');
  const about = { runId: 'run-2', task: 'promoting', taskDigest: task.digest, seal: 1 };
  const better = { ...verdict.summary!, studentDigest: failing.student.digest };
  const forgeries: [object, RegExp][] = [
    [failed.summary!, /says that the student failed/],
    [{ ...better, reportDigest: failed.summary!.reportDigest }, /says that the student failed/],
    [better, /is of runId run-1, but eval.passed says run-2/],
    [{ ...better, reportDigest: 'a'.repeat(64) }, /knows nothing of the report/],
  ];
  for (const [index, [summary, reason]] of forgeries.entries()) {
    await publishPassed({ ...about, summary });
    expect((await bench.server.deadLetters(index + 1)).at(-1)!.reason).toMatch(reason);
  }
  expect(await current()).toEqual(promoted);
});

test('a report forged into the blob store moves nothing', async () => {
  const json = new TextDecoder().decode(await bench.blobs.get('reports', verdict.summary!.reportDigest));
  const reportDigest = await bench.blobs.put('reports', new TextEncoder().encode(json.replace('"run-1"', '"run-3"')));
  const summary = { ...verdict.summary!, reportDigest };
  await publishPassed({ runId: 'run-3', task: 'promoting', taskDigest: task.digest, seal: 1, summary });
  expect((await bench.server.deadLetters(5)).at(-1)!.reason).toMatch(/knows nothing of the report/);
  expect(await current()).toEqual(promoted);
});

test('after a rollback the old verdict promotes nothing, and the next run that passes does', async () => {
  const { deployment: none } = await client.rollback({ task: 'promoting', reason: 'a test' });
  expect(none).toMatchObject({ generation: 2n, studentDigest: '' });
  const { runId, taskDigest, seal, summary } = verdict;
  await publishPassed({ runId, task: 'promoting', taskDigest, seal, summary });
  await bench.idle('deployer-verdicts');
  expect(await current()).toEqual(none);
  await bench.publish(await bench.event(task, 'run-4'));
  await bench.idle('evaluator-students');
  await bench.idle('deployer-verdicts');
  expect(await current()).toMatchObject({ generation: 3n, runId: 'run-4', previous: { studentDigest: '' } });
});
