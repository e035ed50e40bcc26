import { Verdict } from '@understudy/contract';
import { expect, test } from 'vitest';
import { doubleEverything } from '../harness/doubler.ts';
import { FakeTeacher } from '../harness/fake-teacher.ts';
import { TestPlatform } from '../harness/platform.ts';
import { natsTeacher, routingTask } from '../harness/task.ts';

const prompts = 1_200;

test('every event delivered twice: one outcome per prompt, one student, one promotion', async () => {
  await using platform = await TestPlatform.start({ env: { UNDERSTUDY_TEACHER_GATEWAYS: '3' } });
  await using teacher = await FakeTeacher.start({ natsUrl: platform.run.natsUrl, natsSeed: platform.operatorSeed });
  using doubler = doubleEverything(await platform.bus(), 300);
  const task = routingTask({ name: 'twice', folder: platform.dataDir, prompts, teacher: natsTeacher });
  const run = await platform.finished(await platform.startRun(task));
  expect(Verdict[run.verdict], run.reason).toBe('PROMOTED');
  const stats = await platform.pairStore.stats({ task: 'twice', runId: run.runId });
  expect([stats.answered, stats.declined]).toEqual([prompts, 0]);
  expect((await platform.pairStore.stats({ task: 'twice' })).pairs).toBe(prompts);
  const { calls, distinct } = await teacher.stats();
  expect([calls, distinct]).toEqual([prompts, prompts]);
  expect(doubler.count()).toBeGreaterThan(2 * prompts);
  expect((await platform.evaluator.listReports({ task: 'twice' })).reports).toHaveLength(1);
  expect((await platform.deployer.getDeployment({ task: 'twice' })).deployment?.generation).toBe(1n);
});
