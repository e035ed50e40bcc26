import fc from 'fast-check';
import { expect, it } from 'vitest';
import { hashTexts } from './rows.ts';

const TABLE_ROWS = 32_768;

/** The published recurrence, a byte at a time with the modulus in every step. */
function expectedRows(text: string): number[] {
  const bytes = [...Buffer.from(` ${text} `, 'utf8')].map((byte) => {
    if (byte >= 0x41 && byte <= 0x5a) return byte + 32;
    return byte >= 0x09 && byte <= 0x0d ? 0x20 : byte;
  });
  const rows: number[] = [];
  for (const size of [2, 3, 4, 5]) {
    for (let start = 0; start + size <= bytes.length; start++) {
      const ngram = bytes.slice(start, start + size);
      rows.push(ngram.reduce((v, byte) => (v * 263 + byte + 1) % 2147483647, 0) % TABLE_ROWS);
    }
  }
  return rows;
}

async function rowsOf(texts: readonly string[]): Promise<number[][]> {
  const { rows, offsets } = await hashTexts(texts, TABLE_ROWS, 1);
  return texts.map((_, i) => Array.from(rows.slice(offsets[i], offsets[i + 1])));
}

it('gives the rows of the recurrence for any text, whatever else is in the batch', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ unit: 'binary', maxLength: 80 }), { minLength: 1, maxLength: 8 }),
      async (texts) => {
        expect(await rowsOf(texts)).toEqual(texts.map(expectedRows));
      },
    ),
    { numRuns: 30 },
  );
});

it.each(['', 'a', 'ab', 'ÄÖ', '\0\0\0', '<pad>', '😀'])('hashes the short text %j', async (text) => {
  expect(await rowsOf([text])).toEqual([expectedRows(text)]);
});

it('reads letters in either case, and all white space, alike', async () => {
  const [a, b] = await rowsOf(['Spam\tand EGGS', 'spam and eggs']);
  expect(a).toEqual(b);
});

it('hashes more texts than fit in one call', async () => {
  const texts = Array.from({ length: 150 }, (_, i) => `text number ${i}`.repeat((i % 5) + 1));
  expect(await rowsOf(texts)).toEqual(texts.map(expectedRows));
});
