import { outputPlan } from '@understudy/task/output/plan';
import { expect, it } from 'vitest';
import { learnDistribution } from './out-of-distribution.ts';
import { decide, type Policy, parsePolicy, policyDigest, policyJson, probabilitiesOf } from './policy.ts';

const POLICY: Policy = {
  version: 2,
  studentDigest: 'a'.repeat(64),
  heads: [{ name: 'label', temperature: 2 }],
  threshold: 0.8,
};

const schemaOf = (properties: Record<string, unknown>, required = Object.keys(properties)) => ({
  type: 'object',
  properties,
  required,
  additionalProperties: false,
});
const LABELS = outputPlan(schemaOf({ label: { enum: ['ham', 'spam'] } }));

const decideLabel = (logits: readonly number[], policy = POLICY) =>
  decide({ logits: { label: Float32Array.from(logits) } }, policy, LABELS, '');

it('answers with the likeliest label, and says how sure it is after calibration', () => {
  const decision = decideLabel([1, 5]);
  expect(decision).toMatchObject({ answer: '{"label":"spam"}', confident: true });
  expect(decision.confidence).toBeCloseTo(1 / (1 + Math.exp(-2)), 12);
  expect(decision.heads).toEqual([{ name: 'label', confidence: decision.confidence }]);
});

it('is confident from the threshold on, and never above one', () => {
  expect(decideLabel([0, 1]).confident).toBe(false);
  expect(decideLabel([0, 0], { ...POLICY, threshold: 0.5 }).confident).toBe(true);
  expect(decideLabel([0, 1000], { ...POLICY, threshold: 1.1 }).confident).toBe(false);
});

it('leaves to the teacher what is unlike train, however sure it is', async () => {
  const outOfDistribution = await learnDistribution(['my card is lost', 'where is my card'], ['my card is lost']);
  const policy = parsePolicy(policyJson({ ...POLICY, outOfDistribution }));
  const decideText = (text: string) => decide({ logits: { label: Float32Array.of(0, 99) } }, policy, LABELS, text);
  expect(decideText('where is my card').confident).toBe(true);
  expect(decideText('DROP TABLE cards;')).toMatchObject({ answer: '{"label":"spam"}', confident: false });
});

it('survives logits of any size', () => {
  expect(Array.from(probabilitiesOf([1e30, -1e30], 0.01))).toEqual([1, 0]);
  expect(decideLabel([1e30, -1e30]).confidence).toBe(1);
});

it('multiplies the confidences of heads, and counts nothing of what lies in an object that is not there', () => {
  const guest = schemaOf({ kind: { enum: ['adult', 'child'] } });
  const plan = outputPlan(schemaOf({ urgent: { type: 'boolean' }, guest }, ['urgent']));
  const policy = {
    ...POLICY,
    heads: plan.heads.map(({ name }) => ({ name, temperature: 1 })),
    threshold: 0,
  };
  const logits = (present: number): Record<string, Float32Array> =>
    Object.fromEntries(
      plan.heads.map((head) => {
        const values = head.kind === 'choice' ? head.values : [];
        const wanted = head.name === 'guest' && present > 0 ? '{}' : head.name === 'guest' ? '' : 'true';
        return [head.name, Float32Array.from(values, (value) => (value === wanted || value === '"child"' ? 2 : 0))];
      }),
    );
  const without = decide({ logits: logits(0) }, policy, plan, '');
  expect(without.answer).toBe('{"urgent":true}');
  expect(without.heads.find(({ name }) => name === 'guest.kind')?.confidence).toBe(1);
  const half = 1 / (1 + Math.exp(-2));
  expect(without.confidence).toBeCloseTo(half * half, 6);
  const present = decide({ logits: logits(1) }, policy, plan, '');
  expect(present.answer).toBe('{"guest":{"kind":"child"},"urgent":true}');
  expect(present.confidence).toBeLessThan(without.confidence);
});

it('leaves to the teacher what only the teacher can write', () => {
  const plan = outputPlan(
    schemaOf({ label: { enum: ['ham', 'spam'] }, note: { type: 'string', 'x-left-to': 'teacher' } }, ['label']),
  );
  const policy = { ...POLICY, heads: plan.heads.map(({ name }) => ({ name, temperature: 1 })), threshold: 0 };
  const note = plan.heads.find(({ name }) => name === 'note');
  const values = note?.kind === 'choice' ? note.values : [];
  const logits = (wanted: string) => ({
    logits: { label: Float32Array.of(0, 9), note: Float32Array.from(values, (value) => (value === wanted ? 9 : 0)) },
  });
  expect(decide(logits('teacher'), policy, plan, '')).toMatchObject({
    answer: undefined,
    confidence: 0,
    confident: false,
  });
  expect(decide(logits(''), policy, plan, '')).toMatchObject({ answer: '{"label":"spam"}', confident: true });
});

it('refuses what is of another student', () => {
  expect(() => decideLabel([1, 2, 3])).toThrow('expected 2 logits of "label", got 3');
  const other = { ...POLICY, heads: [{ name: 'topic', temperature: 1 }] };
  expect(() => decideLabel([1, 2], other)).toThrow('the policy is of the head "topic", expected "label"');
  const more = { ...POLICY, heads: [...POLICY.heads, ...POLICY.heads] };
  expect(() => decideLabel([1, 2], more)).toThrow('the policy has 2 heads');
});

it('has one digest however it was written, and reads back', () => {
  const reordered = Object.fromEntries(Object.entries(POLICY).reverse()) as Policy;
  expect(policyDigest(reordered)).toBe(policyDigest(POLICY));
  expect(parsePolicy(policyJson(POLICY))).toEqual(POLICY);
});

it('reads a policy of the first version, which deployments may still name', () => {
  const { studentDigest, threshold } = POLICY;
  const first = { version: 1, studentDigest, field: 'label', labels: ['ham', 'spam'], temperature: 2, threshold };
  expect(parsePolicy(JSON.stringify(first))).toEqual(POLICY);
  expect(() => parsePolicy(JSON.stringify({ ...first, temperature: 0 }))).toThrow();
});

it.each([
  ['another version', { ...POLICY, version: 3 }],
  ['a temperature of 0', { ...POLICY, heads: [{ name: 'label', temperature: 0 }] }],
  ['a threshold that is no number', { ...POLICY, threshold: Number.NaN }],
  ['an unknown key', { ...POLICY, colour: 'red' }],
])('refuses %s', (_, policy) => {
  expect(() => parsePolicy(JSON.stringify(policy))).toThrow();
});
