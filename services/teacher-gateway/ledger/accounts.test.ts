import { testBus } from '@understudy/service/testing';
import { compileTask, parseTask } from '@understudy/task';
import { expect, test } from 'vitest';
import { Ledger } from './ledger.ts';

const version = compileTask(
  parseTask(
    JSON.stringify({
      name: 'held',
      input: { fields: ['text'] },
      prompt: { instructions: 'x', template: '{{text}}', maxCharacters: 50 },
      output: {
        schema: {
          type: 'object',
          properties: { label: { enum: ['ham', 'spam'] } },
          required: ['label'],
          additionalProperties: false,
        },
      },
      teacher: { kind: 'nats', subject: 's', model: 'm' },
      budget: { calls: 1_000, usd: 1 },
      goal: { agreement: 0.9 },
    }),
  ),
);

test('who still holds an account that went idle spends beside whoever opened a new one, and every call is counted', async () => {
  await using bus = await testBus();
  const ledger = new Ledger(await bus.bus.bucket('ledger'), bus.telemetry.log);
  ledger.start();
  const { signal } = new AbortController();
  const spend = async (account: ReturnType<Ledger['ofRun']>) =>
    account.settle(await account.reserve(1_000, signal), 1_000);
  const held = ledger.ofRun(version, 'run-1');
  await spend(held);
  while (ledger.ofRun(version, 'run-1') === held) await new Promise((wake) => setTimeout(wake, 20));
  const fresh = ledger.ofRun(version, 'run-1');
  for (let round = 0; round < 20; round += 1) {
    await spend(fresh);
    await spend(held);
  }
  const again = ledger.ofRun(version, 'run-1');
  expect(again).toBe(fresh);
  await ledger.close();
  const { spent, reserved, expired } = await ledger.totals('held', 'run-1');
  expect(spent).toEqual({ calls: 41, microUsd: 41_000 });
  expect([reserved.calls, expired.calls]).toEqual([0, 0]);
});

test('a batch is paid by the run that begins next, not by one that may have spent what would be paid from', async () => {
  await using bus = await testBus();
  const ledger = new Ledger(await bus.bus.bucket('ledger'), bus.telemetry.log);
  ledger.start();
  const { signal } = new AbortController();
  const spend = async (run: string) => {
    const account = ledger.ofRun(version, run);
    account.settle(await account.reserve(1_000, signal), 1_000);
  };
  await spend('run-1');
  const whole = { reserved: { calls: 1_000, microUsd: 1_000_000 }, spent: { calls: 0, microUsd: 0 } };
  expect(await ledger.accountBatch(version, 'part', whole)).toBe(true);
  const before = ledger.ofRun(version, 'run-1');
  while (ledger.ofRun(version, 'run-1') === before) await new Promise((wake) => setTimeout(wake, 20));
  await spend('run-1');
  await expect(spend('run-2')).rejects.toThrow('the budget is spent');
  await spend('run-3');
  await ledger.close();
});
