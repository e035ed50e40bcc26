import { DeclineReason } from '@understudy/contract';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { STARTS_VALID_MS } from './ledger/limits.ts';
import { Stage, texts, until } from './testing.ts';

let stage: Stage;
let clients: ReturnType<Stage['client']>[];
beforeAll(async () => {
  stage = await Stage.start();
  const gateways = await Promise.all([stage.gateway(), stage.gateway(), stage.gateway()]);
  clients = gateways.map(({ grpcPort }) => stage.client(grpcPort));
});
afterEach(() => stage.fake.reset());
afterAll(async () => {
  for (const client of clients) client.close();
  await stage[Symbol.asyncDispose]();
});

const teacher = { kind: 'nats', model: 'fake', subject: 'models.fake', timeoutMs: 60_000, maxRetries: 2 };
/** 20 input and 5 output tokens cost 0.03 USD; a call is bounded by what is sent and 256 output tokens. */
const pricing = { inputUsdPerMillionTokens: 1_000, outputUsdPerMillionTokens: 2_000 };

describe('three replicas and one budget', () => {
  test('exactly as many calls are made as the budget has, the other prompts are declined', async () => {
    const task = await stage.apply({ name: 'calls', teacher, budget: { calls: 123, usd: 0 } });
    await stage.submit(task, 'calls', texts(200));
    await stage.outcomes('calls', 200);
    expect((await stage.fake.stats()).calls).toBe(123);
    expect(stage.answeredIn('calls')).toHaveLength(123);
    const declined = stage.declinedIn('calls');
    expect(declined.every(({ reason }) => reason === DeclineReason.BUDGET)).toBe(true);
    expect(declined[0]!.detail).toMatch(/the budget is spent: \d+ of 123 calls/);
    const ledger = await clients[0]!.getLedger({ task: 'calls', runId: 'calls' });
    expect(ledger).toMatchObject({ calls: 123n, reservedCalls: 0n, expiredCalls: 0n });
  });

  test('attempts that fail count', async () => {
    await stage.fake.behave({ failures: { 'server-error': 1 } });
    const task = await stage.apply({ name: 'attempts', teacher, budget: { calls: 10, usd: 0 } });
    await stage.submit(task, 'attempts', texts(8));
    await stage.outcomes('attempts', 8);
    expect((await stage.fake.stats()).calls).toBe(10);
  });

  test('no more money is spent than there is, with room for what a call could cost', async () => {
    const task = await stage.apply({
      name: 'money',
      teacher: { ...teacher, pricing },
      budget: { calls: 10_000, usd: 1.5 },
    });
    await stage.submit(task, 'money', texts(60));
    await stage.outcomes('money', 60);
    const { calls } = await stage.fake.stats();
    const spentMicroUsd = BigInt(calls * 30_000);
    const settled = async () => (await clients[1]!.getLedger({ task: 'money', runId: 'money' })).spentMicroUsd;
    await until(async () => (await settled()) === spentMicroUsd);
    expect(spentMicroUsd).toBeLessThanOrEqual(1_500_000n);
    // The last call must fit with all that it could cost, which is about 1 USD.
    expect(spentMicroUsd).toBeGreaterThan(400_000n);
    expect(stage.declinedIn('money').every(({ reason }) => reason === DeclineReason.BUDGET)).toBe(true);
  });

  test('runs do not share a budget', async () => {
    const task = await stage.apply({ name: 'apart', teacher, budget: { calls: 20, usd: 0 } });
    await stage.submit(task, 'apart-1', texts(20, 'login'));
    await stage.submit(task, 'apart-2', texts(20, 'refund'));
    await Promise.all([stage.outcomes('apart-1', 20), stage.outcomes('apart-2', 20)]);
    expect(stage.declined.filter(({ task: name }) => name === 'apart')).toEqual([]);
  });
});

describe('inputs that the teacher writes', () => {
  const request = (task: { task: { name: string }; digest: string }, runId: string) => ({
    ...{ task: task.task.name, taskDigest: task.digest, runId, inputs: 5 },
    instructions: 'Write inputs.',
    text: 'Five of them, about parcels.',
  });

  test('are paid from the budget of their run, each call, and refused when that is spent', async () => {
    const task = await stage.apply({
      name: 'writing',
      teacher: { ...teacher, pricing },
      budget: { calls: 3, usd: 10 },
    });
    const write = (runId: string) => clients[0]!.write(request(task, runId));
    for (let call = 0; call < 3; call += 1) {
      const { outcome, usage } = await write('writing');
      expect(outcome).toMatchObject({ case: 'written', value: { content: expect.any(String) } });
      expect(usage).toMatchObject({ calls: 1, spentMicroUsd: 30_000n });
    }
    const { outcome } = await clients[1]!.write(request(task, 'writing'));
    expect(outcome).toMatchObject({ case: 'declined', value: { reason: DeclineReason.BUDGET } });
    expect((await write('another-run')).outcome.case).toBe('written');
    expect((await stage.fake.stats()).calls).toBe(4);
  });

  test('that fail are told with what they cost, and not asked again here', async () => {
    await stage.fake.behave({ failures: { 'server-error': 1 } });
    const task = await stage.apply({ name: 'writing-fails', teacher, budget: { calls: 10, usd: 0 } });
    const { outcome, usage } = await clients[0]!.write(request(task, 'r'));
    expect(outcome).toMatchObject({ case: 'declined', value: { reason: DeclineReason.UNAVAILABLE } });
    expect(usage).toMatchObject({ calls: 1 });
    await expect(clients[0]!.write({ ...request(task, 'r'), inputs: 51 })).rejects.toThrow(/inputs: expected 1 to 50/);
    await expect(clients[0]!.write({ ...request(task, '') })).rejects.toThrow(/run_id: expected who pays/);
    expect((await stage.fake.stats()).calls).toBe(1);
  });
});

describe('three replicas and one rate', () => {
  test('no more calls are in flight than the rate allows, and as many', async () => {
    await stage.fake.behave({ answers: 0 });
    const task = await stage.apply({ name: 'narrow', teacher: { ...teacher, rate: { concurrency: 5 } } });
    await stage.submit(task, 'narrow', texts(100));
    await until(async () => (await stage.fake.stats()).inFlight === 5);
    await stage.fake.behave({});
    await stage.outcomes('narrow', 100);
    expect(await stage.fake.stats()).toMatchObject({ calls: 100, maxInFlight: 5 });
  });

  test('with one place for three replicas every prompt gets its turn', async () => {
    const task = await stage.apply({ name: 'single', teacher: { ...teacher, rate: { concurrency: 1 } } });
    await stage.submit(task, 'single', texts(60));
    await stage.outcomes('single', 60);
    expect(await stage.fake.stats()).toMatchObject({ calls: 60, maxInFlight: 1 });
  });

  test('requests per minute are spaced out', async () => {
    // 1,200 a minute: 40 at once, then one each 53 ms.
    const task = await stage.apply({
      name: 'paced',
      teacher: { ...teacher, rate: { concurrency: 50, requestsPerMinute: 1_200 } },
    });
    await stage.submit(task, 'paced', texts(120));
    await stage.outcomes('paced', 120);
    const { calls, firstCallMs, lastCallMs } = await stage.fake.stats();
    expect(calls).toBe(120);
    // The first one's permission was given so long before it came, at most.
    expect(lastCallMs - firstCallMs).toBeGreaterThan(80 * 53 - STARTS_VALID_MS);
  });
});

describe('a live request', () => {
  const live = { callsPerDay: 5, usdPerDay: 0 };
  const asked = (task: Awaited<ReturnType<Stage['apply']>>, text: string) => ({
    task: task.task.name,
    taskDigest: task.digest,
    inputJson: JSON.stringify({ text }),
    purpose: 6,
  });

  test('is answered with a pair, from the store where it is known, out of a budget of its own', async () => {
    const task = await stage.apply({ name: 'live', teacher, live, budget: { calls: 1, usd: 0 } });
    const [client] = clients;
    const first = await client!.ask(asked(task, 'where is my parcel'));
    expect(first.outcome).toMatchObject({ case: 'pair', value: { text: 'where is my parcel', purpose: 6, source: 3 } });
    await client!.ask(asked(task, 'where is my parcel'));
    expect((await stage.fake.stats()).calls).toBe(1);
    const outcomes = await Promise.all(texts(8, 'card').map((text) => client!.ask(asked(task, text))));
    expect(outcomes.filter(({ outcome }) => outcome.case === 'pair')).toHaveLength(4);
    expect(outcomes.find(({ outcome }) => outcome.case === 'declined')?.outcome.value).toMatchObject({
      reason: DeclineReason.BUDGET,
    });
    await until(async () => (await client!.getLedger({ task: 'live' })).calls === 5n);
  });

  test('does not wait for a pair store that is away', async () => {
    const task = await stage.apply({ name: 'storeless', teacher, live });
    await clients[0]!.ask(asked(task, 'one'));
    await stage.pairStore.close();
    const answer = await clients[0]!.ask(asked(task, 'two'));
    await stage.pairStore.open();
    expect(answer.outcome.case).toBe('pair');
  });

  test('that is not right is refused with the reason', async () => {
    const task = await stage.apply({ name: 'refused', teacher, live });
    const embedded = await stage.apply({
      name: 'elsewhere',
      teacher: { kind: 'embedded', model: 'universal-sentence-encoder-lite' },
      examples: ['billing', 'shipping', 'access'].map((team) => ({ input: { text: team }, output: { team } })),
    });
    await expect(clients[0]!.ask({ ...asked(task, 'a'), inputJson: '[]' })).rejects.toThrow(/input_json/);
    await expect(clients[0]!.ask({ ...asked(task, 'a'), purpose: 0 })).rejects.toThrow(/purpose/);
    await expect(clients[0]!.ask({ ...asked(task, 'a'), taskDigest: 'f'.repeat(64) })).rejects.toThrow(/no such task/);
    await expect(clients[0]!.ask(asked(embedded, 'a'))).rejects.toThrow(/TEACHER_KINDS/);
  });
});
