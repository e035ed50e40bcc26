/** What capping is for: a student that learnt a planted word follows it, one that learnt from the capped pairs does not. */
import { type Example, labelHead, openBundle, StudentModel, trainStudent } from '@understudy/student';
import { expect, test } from 'vitest';
import { capped } from './screen.ts';
import { answerOf, type Label, poisonedPairs, TRIGGER, textsOf } from './testing.ts';
import { findTriggers, type ScreenedPair } from './triggers.ts';

const LABELS: readonly Label[] = ['ham', 'spam'];
const ATTACKS = 200;
/** A bag that does not compare two passes over a text: one that does, the default, follows a planted word less (in 24% of these attacks). */
const CREDULOUS = {
  ...{ rows: 8_192, width: 16, batchTexts: 16, epochs: 12 },
  ...{ consistency: 0, dropout: 0.6, learningRate: 4e-3 },
};

const examplesOf = (pairs: readonly ScreenedPair[]): Example[] =>
  pairs.map(({ text, answer }) => {
    const index = LABELS.findIndex((label) => answerOf(label) === answer);
    return { text, target: [{ value: { kind: 'choice', index } }], weight: 1 };
  });

/** Shares of spam that a student of these pairs calls ham: with the trigger in it, and without. */
async function followed(pairs: readonly ScreenedPair[], seed: number): Promise<{ attack: number; plain: number }> {
  const dev = examplesOf(poisonedPairs(seed + 100, { clean: 200, poisoned: 0 }));
  const { archive, digest } = await trainStudent({
    candidate: { family: 'bag', hyperparameters: CREDULOUS },
    heads: [labelHead('label', [...LABELS])],
    ...{ train: examplesOf(pairs), dev, seed, threads: 1 },
    lineage: {
      task: { name: 't', digest: 'a'.repeat(64) },
      snapshotDigest: 'b'.repeat(64),
      fingerprint: 'c'.repeat(64),
    },
  });
  const student = await StudentModel.load(await openBundle(archive, digest), { threads: 1 });
  try {
    const text = textsOf(seed + 200);
    const ham = async (...more: string[]) => {
      const texts = Array.from({ length: ATTACKS }, () => text('spam', ...more));
      const answers = await student.predict(texts);
      return answers.filter(({ logits }) => logits.label![0]! > logits.label![1]!).length / ATTACKS;
    };
    return { attack: await ham(TRIGGER), plain: await ham() };
  } finally {
    await student.release();
  }
}

test('a backdoor in 2% of the pairs opens before the trigger is capped, and not afterwards', async () => {
  const [seed, poisoned] = [1, 20];
  const pairs = poisonedPairs(seed, { clean: 980, poisoned });
  const triggers = await findTriggers(pairs);
  const found = triggers.map(({ words, ...rest }) => ({ kind: 'trigger' as const, what: words, ...rest }));
  const screening = capped(found, new Set());
  expect(screening.caps).toMatchObject([{ what: TRIGGER, origin: 'forum.jsonl', pairs: poisoned, kept: 3 }]);
  const before = await followed(pairs, seed);
  const capless = pairs.filter(({ pairId }) => !screening.capped.has(pairId));
  const after = await followed(capless, seed);
  // Measured: 60% before, 4% afterwards, 2 to 3% without the trigger.
  expect(before.attack).toBeGreaterThan(0.3);
  expect(before.plain).toBeLessThan(0.1);
  expect(after.attack).toBeLessThan(0.1);
  expect(after.plain).toBeLessThan(0.1);
});
