import { DeclineReason, Purpose } from '@understudy/contract';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Stage, texts, until } from './testing.ts';

let stage: Stage;
let clients: ReturnType<Stage['client']>[];
beforeAll(async () => {
  stage = await Stage.start();
  const gateways = await Promise.all([stage.gateway(), stage.gateway()]);
  clients = gateways.map(({ grpcPort }) => stage.client(grpcPort));
});
afterEach(() => stage.fake.reset());
afterAll(async () => {
  for (const client of clients) client.close();
  await stage[Symbol.asyncDispose]();
});

const teacher = { kind: 'nats', subject: 'models.fake', timeoutMs: 20_000, maxRetries: 1 };
const opened = async (client: (typeof clients)[number]) =>
  (await client.listTeachers({})).teachers.some(({ open }) => open);

test('a teacher that refuses our credentials is asked now and then, by one replica; nothing is declined, and the reason is told', async () => {
  const rate = { concurrency: 8 };
  const task = await stage.apply({ name: 'refusing', teacher: { ...teacher, model: 'locked', rate } });
  await stage.fake.behave({ failures: { unauthorized: 1 } });
  await stage.submit(task, 'refusing', texts(300));
  await until(async () => (await opened(clients[0]!)) && (await opened(clients[1]!)));
  const { calls, firstCallMs, lastCallMs } = await stage.fake.stats();
  // What was in flight when the first refusal came, and a try now and then: the first after ten seconds.
  expect(calls).toBeLessThanOrEqual(16 + Math.ceil((lastCallMs - firstCallMs) / 10_000));
  expect(stage.declinedIn('refusing')).toEqual([]);
  for (const client of clients) {
    const { teachers } = await client.listTeachers({});
    const detail = expect.stringContaining('401');
    expect(teachers).toEqual([expect.objectContaining({ teacher: 'locked at models.fake', open: true, detail })]);
  }
  const question = { task: 'refusing', taskDigest: task.digest, inputJson: '{"text":"now"}', purpose: Purpose.SERVE };
  const live = await clients[0]!.ask(question);
  expect(live.outcome).toMatchObject({ case: 'declined', value: { reason: DeclineReason.UNAUTHORIZED } });
  await stage.fake.behave({});
  await stage.outcomes('refusing', 300);
  expect(stage.declinedIn('refusing')).toEqual([]);
  expect(stage.answeredIn('refusing')).toHaveLength(300);
  await until(async () => !(await opened(clients[1]!)));
});

test("one replica's 429 makes all of them wait as long as the teacher asked for", async () => {
  const rate = { concurrency: 4 };
  const task = await stage.apply({ name: 'pausing', teacher: { ...teacher, model: 'busy', maxRetries: 9, rate } });
  await stage.submit(task, 'pausing', texts(20, 'before'));
  await stage.outcomes('pausing', 20);
  await stage.fake.reset();
  const retryAfterMs = 3_000;
  await stage.fake.behave({ failures: { 'rate-limited': 1 }, retryAfterMs });
  await stage.submit(task, 'pausing', texts(100));
  await until(async () => (await stage.fake.stats()).calls > 0);
  await until(async () => (await clients[1]!.listTeachers({})).teachers.some(({ waitMs }) => waitMs > 0n));
  const { calls, firstCallMs, lastCallMs } = await stage.fake.stats();
  await stage.fake.behave({ failures: {} });
  const pauses = Math.floor((lastCallMs - firstCallMs) / retryAfterMs);
  expect(calls).toBeLessThanOrEqual(8 * (1 + pauses));
  await stage.outcomes('pausing', 120);
  expect((await stage.fake.stats()).longestPauseMs).toBeGreaterThan(retryAfterMs - 100);
  expect(stage.declinedIn('pausing')).toEqual([]);
});

test('a teacher that stays away: after the time that an outage may last, prompts are declined with what it said', async () => {
  await stage.stopGateways();
  await stage.gateway({ OUTAGE_PATIENCE_MS: '3000' });
  const task = await stage.apply({ name: 'gone', teacher: { ...teacher, model: 'gone', maxRetries: 9 } });
  await stage.fake.behave({ failures: { 'server-error': 1 } });
  await stage.submit(task, 'gone', texts(60));
  await stage.outcomes('gone', 60);
  const declined = stage.declinedIn('gone');
  expect(declined).toHaveLength(60);
  for (const { reason, detail } of declined) {
    expect(reason).toBe(DeclineReason.UNAVAILABLE);
    expect(detail).toMatch(/^gone at models.fake is not asked for \d+ s: .*the model fell over/);
  }
  expect((await stage.fake.stats()).calls).toBeLessThan(120);
});
