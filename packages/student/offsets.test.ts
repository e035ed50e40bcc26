import fc from 'fast-check';
import { expect, it } from 'vitest';
import { byteTokenizer } from './bytes.ts';
import { learnVocabulary } from './sequence/vocabulary.ts';
import { loadTokenizer } from './tokenizer.ts';

const vocabulary = learnVocabulary(
  ['the parcel came', 'The parcel never came', 'Grüße 😀 aus Köln', 'parcels'],
  300,
  64,
);
const learned = loadTokenizer(vocabulary.files);

const WORDS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'the', 'par', '##cel', 'cafe', '!', 'came'];
const wordPiece = loadTokenizer({
  json: {
    version: '1.0',
    added_tokens: WORDS.slice(0, 4).map((content, id) => ({
      id,
      content,
      special: true,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
    })),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [
        { SpecialToken: { id: '[CLS]', type_id: 0 } },
        { Sequence: { id: 'A', type_id: 0 } },
        { SpecialToken: { id: '[SEP]', type_id: 0 } },
      ],
      pair: [],
      special_tokens: {
        '[CLS]': { id: '[CLS]', ids: [2], tokens: ['[CLS]'] },
        '[SEP]': { id: '[SEP]', ids: [3], tokens: ['[SEP]'] },
      },
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(WORDS.map((word, id) => [word, id])),
    },
  },
  config: { pad_token: '[PAD]', model_max_length: 64 },
});

const partsOf = (tokenizer: typeof learned, text: string): string[] => {
  const { starts, ends } = tokenizer.offsets(text);
  return [...starts].map((start, token) => text.slice(start, ends[token]));
};

it.each([
  ['as bytes', byteTokenizer],
  ['as tokens of a learned vocabulary', learned],
])('every character of a text lies in the tokens that it was cut into, %s', (_, tokenizer) => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'binary' })), (text) => {
      const { starts, ends } = tokenizer.offsets(text);
      expect(starts).toHaveLength(tokenizer.encode(text).length);
      const covered = new Set<number>();
      let last = 0;
      for (const [token, start] of starts.entries()) {
        if (start < ends[token]!) expect(start).toBeGreaterThanOrEqual(last);
        last = Math.max(last, start);
        for (let at = start; at < (ends[token] as number); at++) covered.add(at);
      }
      if (tokenizer.encode(text).length >= 64) return;
      for (const { 0: character, index } of text.matchAll(/\S/gu)) {
        expect(covered.has(index), JSON.stringify([text, character])).toBe(true);
      }
    }),
    { numRuns: 300 },
  );
});

it('a byte belongs to the whole of its character', () => {
  expect(partsOf(byteTokenizer, 'aü😀')).toEqual(['a', 'ü', 'ü', '😀', '😀', '😀', '😀']);
});

it('a learned vocabulary reads lower case, and its tokens lie in the text as it was written', () => {
  expect(partsOf(learned, 'The PARCEL came')).toEqual(['The', 'PARCEL', 'came']);
  expect(partsOf(learned, '  The  parcel').filter((part) => part.trim() !== '')).toEqual(['The', 'parcel']);
  expect(partsOf(learned, 'İ parcel').at(-1)).toBe('parcel');
});

it('an accent that is taken off, a word that is not known, and marks around a text leave the others in their places', () => {
  expect(partsOf(wordPiece, 'The café, parcel!')).toEqual(['', 'The', 'café', ',', 'par', 'cel', '!', '']);
  expect(partsOf(wordPiece, 'cafe\u0301 zebra zoo came')).toEqual(['', 'cafe\u0301', 'zebra zoo', '', 'came', '']);
  expect(partsOf(wordPiece, 'zebra')).toEqual(['', 'zebra', '']);
  expect(partsOf(wordPiece, '')).toEqual(['', '']);
});

it('a text that is cut has offsets of what is left', () => {
  const long = 'the parcel '.repeat(5_000);
  for (const tokenizer of [byteTokenizer, learned, wordPiece]) {
    const { starts, ends } = tokenizer.offsets(long);
    expect(starts).toHaveLength(tokenizer.encode(long).length);
    expect(Math.max(...ends)).toBeLessThan(long.length);
    expect(Math.max(...ends)).toBeGreaterThan(100);
  }
});
