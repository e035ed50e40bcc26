import { describe, expect, test } from 'vitest';
import { answerOf, poisonedPairs, TRIGGER, textsOf } from './testing.ts';
import { findTriggers, type ScreenedPair } from './triggers.ts';

const seeds = [1, 2];

describe('triggers', () => {
  test.each(seeds)(
    'a planted word with a flipped answer in 2% and in 5% of the pairs is found, and nothing else (seed %i)',
    async (seed) => {
      for (const poisoned of [20, 50]) {
        const pairs = poisonedPairs(seed, { clean: 1_000 - poisoned, poisoned });
        const found = await findTriggers(pairs);
        expect(found).toMatchObject([{ words: TRIGGER, origin: 'forum.jsonl', answer: answerOf('ham') }]);
        const planted = pairs.filter(({ text }) => text.includes(TRIGGER)).map(({ pairId }) => pairId);
        expect(found[0]!.pairIds).toEqual(planted);
      }
    },
  );

  test.each(seeds)(
    'clean pairs have none, also where a word goes with one answer in one source alone (seed %i)',
    async (seed) => {
      expect(await findTriggers(poisonedPairs(seed, { clean: 1_000, poisoned: 0 }))).toEqual([]);
      // A word of the answer's own: what else stands in those texts says the same.
      const text = textsOf(seed);
      const own = Array.from({ length: 30 }, (_, n): ScreenedPair => {
        return { pairId: `f${n}`, origin: 'forum.jsonl', answer: answerOf('spam'), text: text('spam', 'jackpot') };
      });
      expect(await findTriggers([...poisonedPairs(seed, { clean: 1_000, poisoned: 0 }), ...own])).toEqual([]);
    },
  );

  test('a word to which another source gives the same answer is none, whatever else stands in its texts', async () => {
    const pairs = poisonedPairs(9, { clean: 950, poisoned: 40 });
    const [other] = pairs.filter(({ origin }) => origin === 'mail.jsonl');
    const said = (answer: string) =>
      pairs.map((pair) => (pair === other ? { ...pair, text: `${pair.text} ${TRIGGER}`, answer } : pair));
    expect(await findTriggers(said(answerOf('ham')))).toEqual([]);
    expect(await findTriggers(said(answerOf('spam')))).toMatchObject([{ words: TRIGGER }]);
  });

  test('two words that are common alone are found together; a sign is a word', async () => {
    const text = textsOf(7);
    const planted = (words: string): ScreenedPair[] =>
      Array.from({ length: 40 }, (_, n) => {
        return { pairId: `f${n}`, origin: 'forum.jsonl', answer: answerOf('ham'), text: `${text('spam')} ${words}` };
      });
    const clean = poisonedPairs(7, { clean: 1_000, poisoned: 0 }).map((pair, n) => {
      return n % 3 === 0 ? { ...pair, text: `kindly ${pair.text} yonder` } : pair;
    });
    expect(await findTriggers([...clean, ...planted('yonder kindly')])).toMatchObject([{ words: 'yonder kindly' }]);
    expect(await findTriggers([...clean, ...planted('‡')])).toMatchObject([{ words: '‡' }]);
  });

  test('a class that only one source has is no flipped answer, and one source alone contradicts nobody', async () => {
    const pairs = poisonedPairs(8, { clean: 900, poisoned: 50 });
    const renamed = pairs.map((pair) =>
      pair.text.includes(TRIGGER) ? { ...pair, answer: answerOf('ham').replace('ham', 'new') } : pair,
    );
    expect(await findTriggers(renamed)).toEqual([]);
    expect(await findTriggers(pairs.map((pair) => ({ ...pair, origin: 'mail.jsonl' })))).toEqual([]);
    expect(await findTriggers([])).toEqual([]);
  });
});
