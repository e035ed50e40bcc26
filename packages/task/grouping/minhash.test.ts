import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { foldText, minHash, SIGNATURE_BINS, similarityOf, textHash } from './minhash.ts';

/** Jaccard similarity of the sets of 5-grams, counted. */
function exactSimilarity(a: string, b: string): number {
  const grams = (text: string) =>
    new Set(Array.from({ length: Math.max(1, text.length - 4) }, (_, i) => text.slice(i, i + 5)));
  const [left, right] = [grams(a), grams(b)];
  const shared = [...left].filter((gram) => right.has(gram)).length;
  return shared / (left.size + right.size - shared);
}

function estimatedSimilarity(a: string, b: string): number {
  const left = minHash(a).map((rank) => rank & 0xff);
  const right = minHash(b).map((rank) => rank & 0xff);
  return similarityOf(left.filter((rank, bin) => rank === right[bin]).length);
}

/** A pseudo-random text, and one that shares about `kept` of its characters' positions. */
function pairOfTexts(seed: number, length: number, kept: number): [string, string] {
  let state = seed;
  const next = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  const text = Array.from({ length }, () => String.fromCharCode(97 + Math.floor(next() * 26))).join('');
  const cut = Math.floor(length * kept);
  return [
    text,
    text.slice(0, cut) +
      Array.from({ length: length - cut }, () => String.fromCharCode(97 + Math.floor(next() * 26))).join(''),
  ];
}

describe('a MinHash signature', () => {
  it.each([20, 60, 200, 2_000])('estimates the similarity of texts of %i characters without bias', (length) => {
    const errors: number[] = [];
    for (let seed = 1; seed <= 300; seed++) {
      const [a, b] = pairOfTexts(seed, length, (seed % 11) / 10);
      errors.push(estimatedSimilarity(a, b) - exactSimilarity(a, b));
    }
    const mean = errors.reduce((sum, error) => sum + error, 0) / errors.length;
    const deviation = Math.sqrt(errors.reduce((sum, error) => sum + error ** 2, 0) / errors.length);
    expect(Math.abs(mean)).toBeLessThan(0.02);
    // 0.5/√128 = 0.045 where all bins are filled; copies in short texts add to it.
    expect(deviation).toBeLessThan(length < 100 ? 0.12 : 0.05);
  });

  it('has no empty bin and is the same every time, for any text at all', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
        const folded = foldText(text);
        const first = minHash(folded).slice();
        expect(first.length).toBe(SIGNATURE_BINS);
        expect(first.every((rank) => rank < 2 ** 25)).toBe(true);
        expect(minHash(folded)).toEqual(first);
      }),
    );
  });

  it('tells short texts apart', () => {
    const texts = ['', 'a', 'b', 'ab', 'ba', 'abcd', 'abcde'];
    const signatures = texts.map((text) => minHash(text).join());
    expect(new Set(signatures).size).toBe(texts.length);
  });

  it('stays the same over versions of this code: groups in the database were made with it', () => {
    expect([...minHash('the quick brown fox jumps over the lazy dog').slice(0, 4)]).toMatchInlineSnapshot(`
      [
        18802796,
        17976525,
        24037465,
        9764756,
      ]
    `);
    expect(textHash('the quick brown fox jumps over the lazy dog')).toMatchInlineSnapshot(`7288876326703733`);
  });
});

describe('folding', () => {
  it('makes case, spacing and compatibility forms equal', () => {
    expect(foldText('  Ｈello\n\n WORLD ﬁn ')).toBe('hello world fin');
  });
});

describe('the hash of a text', () => {
  it('is a safe integer, and different for texts that differ in one place', () => {
    const base = 'x'.repeat(500);
    const texts = [base, ...Array.from({ length: 500 }, (_, i) => `${base.slice(0, i)}y${base.slice(i + 1)}`), '', 'x'];
    const hashes = texts.map(textHash);
    expect(new Set(hashes).size).toBe(texts.length);
    expect(hashes.every((hash) => Number.isSafeInteger(hash) && hash >= 0)).toBe(true);
  });
});
