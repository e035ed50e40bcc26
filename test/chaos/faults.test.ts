import { expect, test } from 'vitest';
import { checkFaults, runWithFaults } from '../harness/faults.ts';

const prompts = 1_000;

test('a teacher that fails in every way, and a replica killed: each prompt has one outcome, and the ledger covers what was charged', async () => {
  const outcome = await runWithFaults(prompts, 0.2, 200);
  checkFaults(prompts, outcome);
  // What it is about did happen.
  const { teacher, declined, ledger } = outcome;
  expect(Object.keys(teacher.failures).length).toBeGreaterThanOrEqual(14);
  expect(teacher.charged.unseenCalls).toBeGreaterThan(20);
  expect(declined).toBeGreaterThan(0);
  expect(ledger.unsettled).toBeGreaterThan(0);
});
