import { outputPlan } from '@understudy/task/output/plan';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openBundle } from '../bundle.ts';
import { describedHeads, headsOf } from '../description.ts';
import type { Example } from '../examples.ts';
import type { Candidate } from '../family.ts';
import { decide, type Policy } from '../policy.ts';
import { StudentModel } from '../student-model.ts';
import { smallOptions } from '../testing.ts';
import { tinyEncoder } from '../testing-encoder.ts';
import { trainStudent } from '../train-student.ts';
import { fitTemperatures } from './calibrate.ts';

const object = (properties: Record<string, unknown>, required: readonly string[]) => ({
  type: 'object',
  properties,
  required,
  additionalProperties: false,
});

/** Every kind of head: a choice, a set, a number, a copied text, and an object that need not be there. */
const plan = outputPlan(
  object(
    {
      topic: { enum: ['invoice', 'parcel'] },
      tags: { type: 'array', uniqueItems: true, items: { enum: ['late', 'broken', 'refund'] } },
      stars: { type: 'integer', minimum: 1, maximum: 5 },
      who: { type: 'string', 'x-copied-from': 'text' },
      sender: object({ city: { type: 'string', 'x-copied-from': 'text' }, known: { type: 'boolean' } }, [
        'city',
        'known',
      ]),
    },
    ['topic', 'tags', 'stars'],
  ),
);

const NAMES = ['Ada', 'Grüße Zoë', 'Bob 😀', undefined];
const CITIES = ['Köln', 'Rome', undefined];

/** Texts with their answers, in an order that mixes them. */
function task(): { text: string; answer: Record<string, unknown> }[] {
  const texts: { text: string; answer: Record<string, unknown> }[] = [];
  for (let i = 0; i < 360; i++) {
    const at = (i * 7919) % 360;
    const [who, city] = [NAMES[at % 4], CITIES[Math.floor(at / 4) % 3]];
    const topic = at % 5 < 2 ? 'invoice' : 'parcel';
    const tags = ['late', 'broken', 'refund'].filter((_, bit) => (Math.floor(at / 12) >> bit) & 1);
    const stars = 1 + (at % 5);
    const words = [`my ${topic} was ${tags.join(' and ') || 'what'}`, `${'very '.repeat(stars)}good`];
    if (who) words.push(`please ${who} return`);
    if (city) words.push(`from ${city} ${at % 2 ? 'i work' : 'it came'}`);
    const answer = { topic, tags, stars, ...(who && { who }), ...(city && { sender: { city, known: at % 2 === 1 } }) };
    texts.push({ text: words.join(at % 3 ? ' ' : ', '), answer });
  }
  return texts;
}

const examples = task().map(({ text, answer }): Example & { answerJson: string } => {
  const answerJson = JSON.stringify(answer);
  const encoded = plan.encode(answerJson, text);
  if (!encoded.ok) throw new Error(encoded.message);
  return { text, answerJson, weight: 1, target: encoded.values.map((value) => ({ value })) };
});
const [train, dev] = [examples.filter((_, i) => i % 6), examples.filter((_, i) => i % 6 === 0)];

let encoder: Awaited<ReturnType<typeof tinyEncoder>>;
beforeAll(async () => {
  encoder = await tinyEncoder();
});
afterAll(() => encoder[Symbol.asyncDispose]());

const CANDIDATES: Readonly<Record<string, () => { candidate: Candidate; atLeast: number }>> = {
  bag: () => ({
    candidate: { family: 'bag', hyperparameters: { rows: 4_096, width: 16, batchTexts: 16, epochs: 12, dropout: 0.2 } },
    atLeast: 0.5,
  }),
  conv: () => ({
    candidate: {
      family: 'conv',
      hyperparameters: { vocabulary: 400, width: 24, filters: 24, epochs: 12, batchTexts: 16, learningRate: 0.01 },
    },
    atLeast: 0.5,
  }),
  transformer: () => ({
    candidate: {
      family: 'transformer',
      hyperparameters: {
        vocabulary: 400,
        width: 24,
        feedForward: 32,
        layers: 1,
        epochs: 12,
        batchTexts: 16,
        learningRate: 0.01,
      },
    },
    atLeast: 0.25,
  }),
  'frozen encoder': () => ({
    candidate: {
      family: 'encoder',
      hyperparameters: { epochs: 3 },
      encoder: { folder: encoder.folder, train: 'heads' },
    },
    atLeast: 0,
  }),
  encoder: () => ({
    candidate: {
      family: 'encoder',
      hyperparameters: { epochs: 2, batchTexts: 16, learningRate: 3e-3 },
      encoder: { folder: encoder.folder, train: 'all' },
    },
    atLeast: 0,
  }),
};

describe.each(Object.entries(CANDIDATES))('a %s student of an object', (_, candidateOf) => {
  it('answers all fields with valid JSON, alone as among others, and agrees as often as it says', async () => {
    const { candidate, atLeast } = candidateOf();
    const { archive, digest, description } = await trainStudent(
      smallOptions({ candidate, heads: plan.heads, train, dev, seed: 3 }),
    );
    expect(headsOf(description)).toEqual(plan.heads.map((head) => ({ ...head })));
    const student = await StudentModel.load(await openBundle(archive, digest), { threads: 1 });
    const texts = dev.map(({ text }) => text);
    const predictions = await student.predict(texts);
    const given = dev.map(({ target }, i) => ({
      prediction: predictions[i]!,
      values: target.map(({ value }) => value),
    }));
    const policy: Policy = {
      version: 2,
      studentDigest: digest,
      heads: plan.heads.map(({ name }) => ({ name, temperature: 1 })),
      threshold: 0,
    };
    let agreed = 0;
    for (const [i, { text, answerJson }] of dev.entries()) {
      const { answer, confidence } = decide(predictions[i]!, policy, plan, text);
      expect(confidence).toBeGreaterThanOrEqual(0);
      expect(confidence).toBeLessThanOrEqual(1);
      if (answer === undefined) continue;
      expect(plan.encode(answer, text).ok).toBe(true);
      if (plan.agreement(answer, answerJson).whole) agreed += 1;
    }
    expect(agreed / dev.length).toBeCloseTo(description.devAgreement, 10);
    expect(description.devAgreement).toBeGreaterThanOrEqual(atLeast);
    for (const { temperature } of fitTemperatures(plan.heads, given)) expect(temperature).toBeGreaterThan(0);

    const odd = ['', ' ', 'a\ud83d 😀', 'parcel '.repeat(3_000), texts[0]!];
    const together = await student.predict(odd);
    for (const [i, text] of odd.entries()) {
      const [alone] = await student.predict([text]);
      expect(() => decide(alone!, policy, plan, text)).not.toThrow();
      for (const { name } of plan.heads) {
        expect(together[i]!.logits[name]).toHaveLength(alone!.logits[name]!.length);
        for (const [at, logit] of alone!.logits[name]!.entries()) {
          expect(Math.abs(together[i]!.logits[name]![at]! - logit), `${name} of ${text.slice(0, 9)}`).toBeLessThan(
            0.01,
          );
        }
      }
    }
    await student.release();
  });
});

it('understudy.json says of one enum what it always said, and of more all that a reader needs', () => {
  const [one] = describedHeads([{ kind: 'choice', name: 'label', values: ['"a"', '"b"'] }]);
  expect(one).toEqual({ field: 'label', output: 'logits.label', kind: 'softmax', labels: ['a', 'b'] });
  expect(describedHeads(plan.heads).map(({ output }) => output)).toEqual(
    plan.heads.map(({ name }) => `logits.${name}`),
  );
});
