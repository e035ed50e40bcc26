import { expect, test } from 'vitest';
import { policyFault } from './deployment-policy.ts';
import { testTask } from './testing.ts';

const stages = ['shadow', 'canary'];
const priced = {
  budget: { calls: 10, usd: 1 },
  teacher: {
    ...{ kind: 'openai', baseUrl: 'http://127.0.0.1:1/v1', model: 'large' },
    pricing: { inputUsdPerMillionTokens: 1, outputUsdPerMillionTokens: 1 },
  },
};

test('stages that live traffic could never pass are a fault: no checks, or no money for a teacher that has a price', () => {
  for (const audit of [{ callsPerDay: 0 }, { share: 0 }]) {
    const fault = policyFault(testTask({ live: { audit }, deployment: { stages } }));
    expect(fault).toMatch(/deployment.stages: got shadow, canary, but live.audit allows no checks/);
    expect(fault).not.toMatch(/usdPerDay/);
  }
  expect(policyFault(testTask({ ...priced, deployment: { stages } }))).toMatch(/live.audit.usdPerDay above 0/);
});

test('stages that can be passed, and none, are no fault', () => {
  expect(policyFault(testTask({ deployment: { stages } }))).toBeUndefined();
  expect(
    policyFault(testTask({ ...priced, live: { audit: { usdPerDay: 1 } }, deployment: { stages } })),
  ).toBeUndefined();
  for (const deployment of [undefined, {}, { stages: [] }]) {
    expect(policyFault(testTask({ ...priced, ...(deployment && { deployment }) }))).toBeUndefined();
  }
});
