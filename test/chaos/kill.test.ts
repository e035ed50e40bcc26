import type { EventType } from '@understudy/contract';
import { patternOf, Verdict } from '@understudy/contract';
import { RunStage, type RunState } from '@understudy/contract/prompt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FakeTeacher } from '../harness/fake-teacher.ts';
import { TestPlatform } from '../harness/platform.ts';
import { natsTeacher, routingTask } from '../harness/task.ts';

const prompts = 1_200;

let platform: TestPlatform;
let teacher: FakeTeacher;

beforeAll(async () => {
  platform = await TestPlatform.start({ env: { UNDERSTUDY_TEACHER_GATEWAYS: '2' } });
  teacher = await FakeTeacher.start({ natsUrl: platform.run.natsUrl, natsSeed: platform.operatorSeed, latencyMs: 50 });
});
afterAll(async () => {
  await teacher?.[Symbol.asyncDispose]();
  await platform?.[Symbol.asyncDispose]();
});

/** Some 300 answers a second, so that there is a middle to kill in. */
const slowTeacher = { ...natsTeacher, rate: { concurrency: 16 } };

const halfAnswered = (run: RunState) => run.answered > prompts / 4 && run.answered < prompts;
const training = (run: RunState) => run.stage === RunStage.TRAINING && run.training !== undefined;

/** Resolves at the first event of a type for a task, before anybody has finished with it. */
const heard = async (type: EventType, task: string): Promise<void> => {
  const bus = await platform.bus();
  const subscription = bus.nc.subscribe(patternOf(bus.naming, type).replace('>', task), { max: 1 });
  await bus.nc.flush();
  for await (const _ of subscription) return;
};

const duringRun: [victim: string, when: (runId: string, task: string) => Promise<unknown>][] = [
  ['prompt', (runId) => platform.runUntil(runId, halfAnswered)],
  ['teacher-gateway-1', (runId) => platform.runUntil(runId, halfAnswered)],
  ['pair-store', (runId) => platform.runUntil(runId, halfAnswered)],
  ['nats-server', (runId) => platform.runUntil(runId, halfAnswered)],
  ['trainer', (runId) => platform.runUntil(runId, training)],
  ['evaluator', (_, task) => heard('student.trained', task)],
  ['deployer', (_, task) => heard('eval.passed', task)],
  ['student-gateway', (_, task) => heard('student.promoted', task)],
];

test.each(duringRun)(
  'kill -9 of %s in the middle of a run: restarted, the run completes',
  { timeout: 180_000 },
  async (victim, when) => {
    await teacher.reset();
    const name = `kill-${victim}`;
    const task = routingTask({ name, folder: platform.dataDir, prompts, teacher: slowTeacher });
    const { prompt } = platform;
    const applied = await prompt.applyTask({ taskJson: JSON.stringify(task) });
    const waiting = when(`run-${name}`, name);
    await prompt.startRun({ task: applied.task, runId: `run-${name}` });
    await waiting;
    const { inFlight } = await teacher.stats();
    const seen = platform.events.length;
    await platform.kill(victim);
    expect(platform.events.slice(seen)).toContainEqual(expect.objectContaining({ event: 'restarting', name: victim }));

    const run = await platform.finished(`run-${name}`);
    expect(Verdict[run.verdict], run.reason).toBe('PROMOTED');
    const stats = await platform.pairStore.stats({ task: name, runId: run.runId });
    expect([stats.answered, stats.declined]).toEqual([prompts, 0]);
    expect((await platform.pairStore.stats({ task: name })).pairs).toBe(prompts);
    const { calls, distinct, maxInFlight } = await teacher.stats();
    expect(distinct).toBe(prompts);
    // Counted before the kill; what was under way at the very kill is at most what ever was.
    expect(calls - distinct).toBeLessThanOrEqual(Math.max(inFlight, maxInFlight));
    const { deployment } = await platform.deployer.getDeployment({ task: name });
    expect(deployment?.generation).toBe(1n);
    await platform.untilServed(name);
  },
);
