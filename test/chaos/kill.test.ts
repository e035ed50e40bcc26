import { nanos } from '@nats-io/transport-node';
import { consumers, type EventType, patternOf, Verdict } from '@understudy/contract';
import type { RunState } from '@understudy/contract/prompt';
import type { BusConnection } from '@understudy/service/bus/connection';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FakeTeacher } from '../harness/fake-teacher.ts';
import { TestPlatform } from '../harness/platform.ts';
import { natsTeacher, routingTask } from '../harness/task.ts';

const prompts = 1_200;

let platform: TestPlatform;
let bus: BusConnection;
let teacher: FakeTeacher;

beforeAll(async () => {
  platform = await TestPlatform.start({ env: { UNDERSTUDY_TEACHER_GATEWAYS: '2' } });
  bus = await platform.bus();
  teacher = await FakeTeacher.start({ natsUrl: platform.run.natsUrl, natsSeed: platform.operatorSeed });
});
afterAll(async () => {
  await teacher?.[Symbol.asyncDispose]();
  await platform?.[Symbol.asyncDispose]();
});

/** Some 300 answers a second, so that there is a middle to kill in. */
const callsInFlight = 16;
const slowTeacher = { ...natsTeacher, rate: { concurrency: callsInFlight } };
const latencyMs = 50;
/** The last answers come after the first kill, however long it takes this process to see that it is time. */
const answersBeforeKill = prompts - 100;
/** What a killed process held comes again after this: ten seconds, as in production, would be most of what these tests take. */
const ackWaitMs = 2_000;

const halfAnswered = (run: RunState) => run.answered > prompts / 4 && run.answered < prompts;

/** Resolves at the first event of a type for a task, before anybody has finished with it. */
const heard = async (type: EventType, task: string): Promise<void> => {
  const subscription = bus.nc.subscribe(patternOf(bus.naming, type).replace('>', task), { max: 1 });
  for await (const _ of subscription) return;
};

/**
 * For the process that takes the victim's place: it reads how long the server waits when it opens its consumers. A gateway
 * shares its own with one that lives, and has read ten seconds.
 */
const hastenRedelivery = async (victim: string): Promise<void> => {
  for (const [name, { service, stream }] of Object.entries(consumers)) {
    if (victim === service) await bus.jsm.consumers.update(stream, name, { ack_wait: nanos(ackWaitMs) });
  }
};

const kill = async (victim: string): Promise<void> => {
  const seen = platform.events.length;
  await hastenRedelivery(victim);
  await platform.kill(victim);
  expect(platform.events.slice(seen)).toContainEqual(expect.objectContaining({ event: 'restarting', name: victim }));
};

type Moment = (runId: string, task: string) => Promise<unknown>;
const answering: Moment = (runId) => platform.runUntil(runId, halfAnswered);
const on =
  (type: EventType): Moment =>
  (_, task) =>
    heard(type, task);

/** Two in each run, at different stages: neither dies while the other is away. */
const duringRun: [first: string, second: string, when: Moment][] = [
  ['prompt', 'trainer', on('training.progressed')],
  ['teacher-gateway-1', 'evaluator', on('student.trained')],
  ['pair-store', 'deployer', on('eval.passed')],
  ['nats-server', 'student-gateway', on('student.promoted')],
];

test.each(duringRun)(
  'kill -9 of %s and of %s in the middle of a run: restarted, the run completes',
  async (first, second, when) => {
    await teacher.reset();
    await teacher.behave({ latencyMs, answers: answersBeforeKill });
    const name = `kill-${first}`;
    const runId = `run-${name}`;
    const task = routingTask({ name, folder: platform.dataDir, prompts, teacher: slowTeacher });
    const { prompt } = platform;
    const applied = await prompt.applyTask({ taskJson: JSON.stringify(task) });
    const later = when(runId, name);
    await bus.nc.flush();
    await prompt.startRun({ task: applied.task, runId });
    await answering(runId, name);
    await kill(first);
    await teacher.behave({ latencyMs });
    await later;
    await kill(second);

    const run = await platform.finished(runId);
    expect(Verdict[run.verdict], run.reason).toBe('PROMOTED');
    const stats = await platform.pairStore.stats({ task: name, runId });
    expect([stats.answered, stats.declined]).toEqual([prompts, 0]);
    expect((await platform.pairStore.stats({ task: name })).pairs).toBe(prompts);
    const { calls, distinct, maxInFlight } = await teacher.stats();
    expect(distinct).toBe(prompts);
    // What was under way at the kill; more only where calls, held up by the teacher, were given up and asked again.
    expect(calls - distinct).toBeLessThanOrEqual(Math.max(callsInFlight, maxInFlight));
    const { deployment } = await platform.deployer.getDeployment({ task: name });
    expect(deployment?.generation).toBe(1n);
    await platform.untilServed(name);
  },
);
