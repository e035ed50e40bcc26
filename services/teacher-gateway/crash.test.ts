import { afterEach, beforeEach, expect, test } from 'vitest';
import { Stage, texts, until } from './testing.ts';

/** What a dead replica held comes again sooner than in production. */
const ackWaitMs = 2_000;

let stage: Stage;
beforeEach(async () => {
  stage = await Stage.start();
  for (const kind of ['openai', 'nats']) {
    await stage.bus.bus.jsm.consumers.update('PROMPTS', `teacher-gateway-${kind}`, { ack_wait: ackWaitMs * 1e6 });
  }
});
afterEach(() => stage[Symbol.asyncDispose]());

/** A slow machine makes no call that long. */
const teacher = { kind: 'nats', model: 'fake', subject: 'models.fake', timeoutMs: 60_000 };
const count = 400;

/** Every prompt has an answer, and all its answers are one. */
const expectAllAnsweredOnce = () => {
  expect(stage.declined).toEqual([]);
  expect(new Set(stage.answered.map(({ pair }) => pair!.promptId)).size).toBe(count);
  expect(stage.pairStore.pairs.size).toBe(count);
};

const allAnswered = () => until(() => stage.pairStore.pairs.size === count && stage.answered.length >= count);

test('kill -9 of a replica: the others finish, and no call is repeated but those that were in flight', async () => {
  const [victim] = await Promise.all([
    stage.gateway({ TEACHER_CONCURRENCY: '8' }),
    stage.gateway({ TEACHER_CONCURRENCY: '8' }),
  ]);
  const task = await stage.apply({ name: 'killed', teacher });
  await stage.fake.behave({ latencyMs: 40 });
  await stage.submit(task, 'killed', texts(count));
  await until(() => stage.answered.length > count / 4);
  await victim.process.kill();
  await allAnswered();
  expectAllAnsweredOnce();
  const { calls, distinct } = await stage.fake.stats();
  expect(distinct).toBe(count);
  expect(calls - count).toBeLessThanOrEqual(8);
});

test('kill -9 and start again: budget and rate hold over both lives', async () => {
  const first = await stage.gateway();
  // The places of a dead replica are free so much later; a call that took longer would be under way beside the six.
  const limited = { ...teacher, timeoutMs: 3_000, rate: { concurrency: 6 } };
  const task = await stage.apply({ name: 'relived', teacher: limited, budget: { calls: 300, usd: 0 } });
  await stage.fake.behave({ latencyMs: 30 });
  await stage.submit(task, 'relived', texts(count));
  await until(() => stage.answered.length > 60);
  await first.process.kill();
  await stage.gateway();
  await stage.outcomes('relived', count);
  const { calls, maxInFlight } = await stage.fake.stats();
  expect(calls).toBeLessThanOrEqual(300);
  // What the first life had leased and not settled is lost, and not much more.
  expect(calls).toBeGreaterThan(200);
  expect(maxInFlight).toBeLessThanOrEqual(6);
});

test('kill -9 of nats-server: every prompt is answered once', async () => {
  await stage.gateway({ TEACHER_CONCURRENCY: '8' });
  // What is asked of a bus that is away is lost, and asked again after this.
  const task = await stage.apply({ name: 'busless', teacher: { ...teacher, timeoutMs: 5_000 } });
  await stage.fake.behave({ latencyMs: 40 });
  await stage.submit(task, 'busless', texts(count));
  await until(() => stage.answered.length > count / 4);
  await stage.bus.server.kill();
  await stage.bus.server.start();
  await allAnswered();
  expectAllAnsweredOnce();
  const { calls } = await stage.fake.stats();
  expect(calls - count).toBeLessThanOrEqual(8);
});

test('a replica that is told to stop finishes its calls and leaves the rest to others', async () => {
  // One that waited out the time it is given would outlast this test.
  const stopping = await stage.gateway({ TEACHER_CONCURRENCY: '8', DRAIN_TIMEOUT_MS: '600000' });
  const task = await stage.apply({
    name: 'drained',
    teacher: { ...teacher, rate: { concurrency: 4 } },
  });
  await stage.fake.behave({ latencyMs: 40 });
  await stage.submit(task, 'drained', texts(count));
  await until(() => stage.answered.length > count / 8);
  await stopping.process.kill('SIGTERM');
  expect(stopping.process.child.exitCode).toBe(0);
  await stage.gateway({ TEACHER_CONCURRENCY: '32' });
  await allAnswered();
  expectAllAnsweredOnce();
  expect((await stage.fake.stats()).calls).toBe(count);
  expect(await stage.fake.stats()).toMatchObject({ maxInFlight: 4 });
});

test('nothing is paid while nobody knows whether it was paid already', async () => {
  await stage.gateway();
  const task = await stage.apply({ name: 'unknowing', teacher });
  await stage.submit(task, 'first', ['known']);
  await stage.outcomes('first', 1);
  await stage.pairStore.close();
  await stage.submit(task, 'unknowing', texts(40));
  const waiting = async () =>
    (await stage.bus.bus.jsm.consumers.info('PROMPTS', 'teacher-gateway-nats')).num_ack_pending;
  await until(async () => (await waiting()) === 40);
  expect((await stage.fake.stats()).calls).toBe(1);
  await stage.pairStore.open();
  await stage.outcomes('unknowing', 40);
  expect(stage.answeredIn('unknowing')).toHaveLength(40);
});

test('while the pair store lags, prompts stay on the bus', async () => {
  const task = await stage.apply({ name: 'lagging', teacher });
  await stage.pairStore.lag();
  const fact = { runId: 'before', task: 'lagging', taskDigest: task.digest };
  const piledUp = Array.from({ length: 10_001 }, (_, index) => ({ ...fact, promptId: String(index) }));
  const { publisher, bus } = stage.bus;
  await Promise.all(
    piledUp.map((payload) => publisher.publish({ type: 'teacher.declined', entity: payload.promptId, payload })),
  );
  await stage.gateway();
  await stage.submit(task, 'lagging', texts(40));
  const consumer = () => bus.jsm.consumers.info('PROMPTS', 'teacher-gateway-nats');
  await until(async () => (await consumer()).num_pending === 40);
  expect(await consumer()).toMatchObject({ num_ack_pending: 0, num_waiting: 0 });
  stage.pairStore.consume();
  await stage.outcomes('lagging', 40);
});
