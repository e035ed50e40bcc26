import { expect, it } from 'vitest';
import { decide, type Policy, parsePolicy, policyDigest, policyJson, probabilitiesOf } from './policy.ts';

const POLICY: Policy = {
  version: 1,
  studentDigest: 'a'.repeat(64),
  field: 'label',
  labels: ['ham', 'spam'],
  temperature: 2,
  threshold: 0.8,
};

it('answers with the likeliest label, and says how sure it is after calibration', () => {
  const decision = decide([1, 5], POLICY);
  expect(decision).toMatchObject({ answer: '{"label":"spam"}', label: 'spam', confident: true });
  expect(decision.confidence).toBeCloseTo(1 / (1 + Math.exp(-2)), 12);
  expect(decision.probabilities[0]).toBeCloseTo(1 / (1 + Math.exp(2)), 12);
});

it('is confident from the threshold on, and never above one', () => {
  expect(decide([0, 1], POLICY).confident).toBe(false);
  expect(decide([0, 0], { ...POLICY, threshold: 0.5 }).confident).toBe(true);
  expect(decide([0, 1000], { ...POLICY, threshold: 1.1 }).confident).toBe(false);
});

it('survives logits of any size', () => {
  expect(Array.from(probabilitiesOf([1e30, -1e30], 0.01))).toEqual([1, 0]);
});

it('refuses logits of another student', () => {
  expect(() => decide([1, 2, 3], POLICY)).toThrow('the policy has 2 labels, but the student gave 3 logits');
});

it('has one digest however it was written, and reads back', () => {
  const reordered = Object.fromEntries(Object.entries(POLICY).reverse()) as Policy;
  expect(policyDigest(reordered)).toBe(policyDigest(POLICY));
  expect(parsePolicy(policyJson(POLICY))).toEqual(POLICY);
});

it.each([
  ['another version', { ...POLICY, version: 2 }],
  ['a temperature of 0', { ...POLICY, temperature: 0 }],
  ['a threshold that is no number', { ...POLICY, threshold: Number.NaN }],
  ['an unknown key', { ...POLICY, colour: 'red' }],
])('refuses %s', (_, policy) => {
  expect(() => parsePolicy(JSON.stringify(policy))).toThrow();
});
