import { Tokenizer } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { byteTokenizer, encodeText } from './bytes.ts';
import { byteTokenizerFiles } from './tokenizer.ts';

const { json, config } = byteTokenizerFiles();
const tokenizer = new Tokenizer(json as object, config as object);
const idsOf = (text: string): number[] => tokenizer.encode(text).ids;
const bytesOf = (text: string): number[] => Array.from(encodeText(text));

it.each([
  ['nothing', ''],
  ['ASCII', 'Hello, World!'],
  ['white space of all kinds', '  two\t tabs\r\nand lines \u00a0\u2003 '],
  ['characters outside of the basic plane', 'a 😀 and 𝔘𝔫𝔦𝔠𝔬𝔡𝔢'],
  ['an unpaired high surrogate', 'a\ud83d b'],
  ['an unpaired low surrogate', 'a\ude00 b'],
  ['the padding token as text', 'what does <pad> mean? <pad><pad>'],
  ['special tokens of other models', '[CLS] <s> </s> <|endoftext|> [PAD]'],
  ['control characters', '\0\u0001\u007f\u0085'],
  ['combining marks, unnormalised', 'e\u0301 é ﬁ Å'],
])('gives the bytes of %s', (_, text) => {
  expect(idsOf(text)).toEqual(bytesOf(text));
});

it('counts the bytes that it gives', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(byteTokenizer.count(text)).toBe(encodeText(text).length);
    }),
  );
  expect(byteTokenizer.count('x'.repeat(10_000))).toBe(encodeText('x'.repeat(10_000)).length);
});

it('gives the bytes of any text', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' })), (text) => {
      expect(idsOf(text)).toEqual(bytesOf(text));
    }),
    { numRuns: 300 },
  );
});

it('gives the bytes of any UTF-16, well-formed or not', () => {
  fc.assert(
    fc.property(fc.uint16Array(), (units) => {
      const text = String.fromCharCode(...units);
      expect(idsOf(text)).toEqual(bytesOf(text));
    }),
    { numRuns: 300 },
  );
});
