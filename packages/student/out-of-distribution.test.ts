import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isOutOfDistribution, learnDistribution, OutOfDistributionSchema, unseenShare } from './out-of-distribution.ts';
import { randomSource } from './statistics/random-source.ts';

const subjects = ['my card', 'the new card', 'a transfer', 'my salary', 'the refund', 'my account'];
const verbs = ['has not arrived', 'was declined', 'is pending', 'was charged twice', 'is blocked', 'got lost'];
const ends = ['since monday', 'after the holidays', 'again', 'what can i do', 'please help', 'for a week'];

function requests(seed: number, count: number): string[] {
  const random = randomSource(seed);
  const one = (of: readonly string[]) => of[Math.floor(random() * of.length)]!;
  return Array.from({ length: count }, () => `${one(subjects)} ${one(verbs)} ${one(ends)}`);
}

describe('out of distribution', async () => {
  const known = await learnDistribution(requests(1, 400), requests(2, 100));

  test('texts like those of train stay with the student, others do not', () => {
    const like = requests(3, 200).filter((text) => isOutOfDistribution(known, text));
    expect(like.length).toBeLessThanOrEqual(8);
    for (const text of ['Wo bleibt meine Karte?', 'SELECT * FROM users;', 'qqqqqqqqqq', '', '\u0000\uD800', '🦊🦊🦊']) {
      expect(isOutOfDistribution(known, text), JSON.stringify(text)).toBe(true);
    }
  });

  test('case and white space make no difference', () => {
    expect(unseenShare(known, '  My CARD\n has not\tarrived   again ')).toBe(
      unseenShare(known, 'my card has not arrived again'),
    );
  });

  test('a text of train is never unseen, and every share is one', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: 'binary' }), { minLength: 1, maxLength: 30 }),
        fc.string(),
        async (train, other) => {
          const learnt = await learnDistribution(train, []);
          for (const text of train) expect(unseenShare(learnt, text)).toBe(0);
          const share = unseenShare(learnt, other);
          expect(share >= 0 && share <= 1).toBe(true);
          expect(isOutOfDistribution(learnt, other), 'without dev nothing is known to be too unlike').toBe(false);
        },
      ),
    );
  });

  test('survives being stored, and stays small however much it has seen', async () => {
    const stored = OutOfDistributionSchema.parse(JSON.parse(JSON.stringify(known)));
    expect(unseenShare(stored, 'a transfer was declined abroad')).toBe(
      unseenShare(known, 'a transfer was declined abroad'),
    );
    const random = randomSource(4);
    const noise = Array.from({ length: 20_000 }, () => random().toString(36));
    expect(OutOfDistributionSchema.safeParse(await learnDistribution(noise, noise)).success).toBe(true);
  });

  test('no texts at all', async () => {
    expect((await learnDistribution([], [])).maxUnseenShare).toBe(1);
  });
});
