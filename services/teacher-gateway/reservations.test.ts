import { join } from 'node:path';
import { Purpose } from '@understudy/contract';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Stage, texts, until } from './testing.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.start();
});
afterEach(async () => {
  await stage.stopGateways();
  await stage.fake.reset();
});
afterAll(() => stage[Symbol.asyncDispose]());

/** 20 input and 5 output tokens cost 3,000 millionths; a call is bounded by some forty times as much. */
const pricing = { inputUsdPerMillionTokens: 100, outputUsdPerMillionTokens: 200 };
const chargedMicroUsd = async () => {
  const { charged } = await stage.fake.stats();
  return charged.inputTokens * 100 + charged.outputTokens * 200;
};
const teacher = { kind: 'nats', model: 'fake', subject: 'models.fake', timeoutMs: 20_000, maxRetries: 0, pricing };

test('50 workers on two replicas, one killed: no more is asked or charged than the live budget has', async () => {
  // The one that stays has a wall clock that jumps by hours, to and fro.
  const jumping = { NODE_OPTIONS: `--import ${join(import.meta.dirname, 'testing-clock.ts')}` };
  const gateways = await Promise.all([stage.gateway(), stage.gateway(jumping)]);
  const clients = gateways.map(({ grpcPort }) => stage.client(grpcPort));
  const live = { callsPerDay: 300, usdPerDay: 1.2 };
  const task = await stage.apply({ name: 'crowd', teacher, live });
  await stage.fake.behave({ latencyMs: 20, failures: { 'server-error': 0.1 } });
  let asked = 0;
  let refused = 0;
  const worker = async (number: number) => {
    for (let failures = 0; refused < 100 && failures < 5; ) {
      const inputJson = JSON.stringify({ text: `question ${asked++} of ${number}` });
      const question = { task: 'crowd', taskDigest: task.digest, inputJson, purpose: Purpose.SERVE };
      try {
        const { outcome } = await clients[number % 2]!.ask(question);
        if (outcome.case === 'declined') refused += 1;
      } catch {
        failures += 1;
      }
    }
  };
  const workers = Promise.all(Array.from({ length: 50 }, (_, number) => worker(number)));
  await until(async () => (await stage.fake.stats()).calls > 40);
  await gateways[0]!.process.kill();
  await workers;
  const { calls } = await stage.fake.stats();
  expect(calls).toBeLessThanOrEqual(live.callsPerDay);
  expect(await chargedMicroUsd()).toBeLessThanOrEqual(live.usdPerDay * 1e6);
  const ledger = await clients[1]!.getLedger({ task: 'crowd' });
  const covered = Number(ledger.spentMicroUsd + ledger.reservedMicroUsd);
  expect(covered).toBeGreaterThanOrEqual(await chargedMicroUsd());
  expect(covered).toBeLessThanOrEqual(live.usdPerDay * 1e6);
  for (const client of clients) client.close();
});

test.each([
  // No answer is late, however slow the machine is: those that do not come are told at once.
  ['told', 60, 60_000, { 'server-error': 0.15, truncated: 0.1, 'error-body': 0.1 }],
  // None comes, however fast it is; fewer calls than would have the teacher taken for gone.
  ['not told', 4, 1_000, { slow: 0.5, reset: 0.5 }],
] as const)(
  'a teacher that charges for calls whose answer got lost, and that is %s: what was reserved stays spent',
  async (name, prompts, timeoutMs, failures) => {
    const { grpcPort } = await stage.gateway();
    const client = stage.client(grpcPort);
    const runId = name.replace(' ', '-');
    const limited = { ...teacher, timeoutMs, maxRetries: 1 };
    const task = await stage.apply({ name: `billed-${runId}`, teacher: limited, budget: { calls: 1_000, usd: 3 } });
    await stage.fake.behave({ slowMs: 600_000, failures });
    await stage.submit(task, runId, texts(prompts));
    await stage.outcomes(runId, prompts);
    const { charged, calls } = await stage.fake.stats();
    const ledgerOf = () => client.getLedger({ task: task.task.name, runId });
    await until(async () => (await ledgerOf()).calls >= BigInt(calls));
    const ledger = await ledgerOf();
    expect(ledger.spentMicroUsd - ledger.expiredMicroUsd).toBe(BigInt(charged.seenCalls * 3_000));
    expect(ledger.expiredCalls).toBe(BigInt(charged.unseenCalls));
    expect(Number(ledger.spentMicroUsd)).toBeGreaterThanOrEqual(await chargedMicroUsd());
    expect(Number(ledger.spentMicroUsd)).toBeLessThanOrEqual(3e6);
    expect(charged.unseenCalls).toBeGreaterThan(5);
    client.close();
  },
);

test('tokens per minute: two replicas begin no more calls than the tokens allow, and those that come back are used', async () => {
  await Promise.all([stage.gateway(), stage.gateway()]);
  // A call is bounded by some 800 tokens and uses 25: a tenth of a minute's are 4 calls, but for what comes back.
  const rate = { concurrency: 8, tokensPerMinute: 30_000 };
  const task = await stage.apply({ name: 'wordy', teacher: { ...teacher, rate } });
  await stage.submit(task, 'wordy', texts(24));
  await stage.outcomes('wordy', 24);
  expect(stage.declinedIn('wordy')).toEqual([]);
  const { calls, maxInFlight } = await stage.fake.stats();
  expect(calls).toBe(24);
  // A tenth of a minute's tokens at most are out at once.
  expect(maxInFlight).toBeLessThanOrEqual(5);
});
