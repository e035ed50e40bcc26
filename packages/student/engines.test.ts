import { outputPlan } from '@understudy/task/output/plan';
import { expect, it } from 'vitest';
import type { Example } from './examples.ts';
import type { Candidate, StudentTraining } from './family.ts';
import { smallStudent } from './testing.ts';

const CANDIDATES: readonly Candidate[] = [
  { family: 'bag', hyperparameters: { rows: 1_024, width: 8, batchTexts: 8, epochs: 2 } },
  { family: 'conv', hyperparameters: { width: 16, filters: 8, batchTexts: 16, epochs: 1 } },
  { family: 'transformer', hyperparameters: { width: 16, batchTexts: 16, epochs: 1 } },
];

/** Mean losses of epochs, in nats; both engines compute in float32, and part by 6e-6 here. */
const TOLERANCE = 1e-4;

async function expectSameTraining(options: Partial<StudentTraining>, tolerance: number): Promise<void> {
  const [ours, theirs] = [await smallStudent(options), await smallStudent({ ...options, engine: 'tfjs' })];
  expect(theirs.description.training.engine).toBe('tfjs');
  const [mine, other] = [ours, theirs].map(({ description }) => description.training.epochs);
  expect(other).toHaveLength(mine?.length as number);
  for (const [i, { loss, devLoss }] of (mine ?? []).entries()) {
    expect(Math.abs(loss - (other?.[i]?.loss as number)), `epoch ${i + 1}`).toBeLessThan(tolerance);
    expect(Math.abs(devLoss - (other?.[i]?.devLoss as number)), `dev after epoch ${i + 1}`).toBeLessThan(tolerance);
  }
}

it.each(CANDIDATES)('a $family trains on tfjs as on ort, dropout, buckets, clipping and all', async (candidate) => {
  await expectSameTraining({ candidate }, TOLERANCE);
});

/** A choice, a set, a number and a copied text. */
function fewFields(): Pick<StudentTraining, 'heads' | 'train' | 'dev'> {
  const plan = outputPlan({
    type: 'object',
    properties: {
      topic: { enum: ['invoice', 'parcel'] },
      tags: { type: 'array', uniqueItems: true, items: { enum: ['late', 'broken'] } },
      stars: { type: 'integer', minimum: 1, maximum: 3 },
      who: { type: 'string', 'x-copied-from': 'text' },
    },
    required: ['topic', 'tags', 'stars'],
    additionalProperties: false,
  });
  const examples = Array.from({ length: 48 }, (_, i): Example => {
    const answer = { topic: i % 2 ? 'invoice' : 'parcel', tags: i % 4 < 2 ? ['late'] : [], stars: 1 + (i % 3) };
    const text = `my ${answer.topic} is ${answer.tags[0] ?? 'here'} ${'*'.repeat(answer.stars)} says Zoë ${i % 5}`;
    const encoded = plan.encode(JSON.stringify({ ...answer, ...(i % 5 && { who: 'Zoë' }) }), text);
    if (!encoded.ok) throw new Error(encoded.message);
    return { text, weight: 1 + (i % 2), target: encoded.values.map((value) => ({ value })) };
  });
  return { heads: plan.heads, train: examples.slice(8), dev: examples.slice(0, 8) };
}

it.each(CANDIDATES)('a $family of several fields trains on tfjs as on ort', async ({ family }) => {
  const settings: Record<string, number> = family === 'bag' ? { rows: 1_024, width: 8 } : { vocabulary: 300, width: 8 };
  const candidate = { family, hyperparameters: { ...settings, batchTexts: 16, epochs: 2 } };
  // The loss is a sum over fields and tokens, ten times as large as that of one choice.
  await expectSameTraining({ candidate, ...fewFields() }, 10 * TOLERANCE);
});
