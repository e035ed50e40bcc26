import { Tokenizer } from '@huggingface/tokenizers';
import { byteCharacters } from '../bytes.ts';
import { bpeTokenizerConfig, bpeTokenizerJson, PAD_TOKEN, type TokenizerFiles } from '../tokenizer.ts';
import { learnMerges, type Merge } from './merges.ts';

/** Texts whose words are counted: more change a vocabulary of a narrow task no further. */
const MAX_TEXTS = 100_000;
/** Characters of a text whose words are counted. */
const MAX_CHARACTERS = 4_096;

/** ASCII letters in lower case, one by one: implementations of `Lowercase` differ in other letters. */
const lowercase = {
  type: 'Sequence',
  normalizers: Array.from({ length: 26 }, (_, i) => ({
    type: 'Replace',
    pattern: { String: String.fromCharCode(0x41 + i) },
    content: String.fromCharCode(0x61 + i),
  })),
};

/** Byte-level byte-pair encoding with these tokens and merges: no text has an unknown token, and padding has the id 0. */
const filesOf = (tokens: readonly string[], merges: readonly Merge[], maxTokens: number): TokenizerFiles => ({
  json: bpeTokenizerJson({
    truncation: { direction: 'Right', max_length: maxTokens, strategy: 'LongestFirst', stride: 0 },
    normalizer: lowercase,
    words: true,
    vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
    merges: merges.map(({ left, right }) => [left, right]),
  }),
  config: bpeTokenizerConfig(maxTokens),
});

/** Padding and single bytes: the tokens that every vocabulary has. */
const FIXED_TOKENS = [PAD_TOKEN, ...byteCharacters()];

export type Vocabulary = { readonly files: TokenizerFiles; readonly size: number };

function vocabularyOf(merges: readonly Merge[], maxTokens: number): Vocabulary {
  // Different merges can lead to the same token.
  const tokens = [...new Set([...FIXED_TOKENS, ...merges.map(({ left, right }) => left + right)])];
  return { files: filesOf(tokens, merges, maxTokens), size: tokens.length };
}

/**
 * Learns a vocabulary of at most `size` tokens from texts.
 * @param maxTokens of a text that are read; the rest is cut.
 */
export function learnVocabulary(texts: readonly string[], size: number, maxTokens: number): Vocabulary {
  // A tokenizer without merges gives the bytes of the normalised text; its pre-tokenizer, the words that merges stay within.
  const { json, config } = vocabularyOf([], maxTokens).files;
  const { normalizer, pre_tokenizer: preTokenizer } = new Tokenizer(json as object, config as object);
  if (!normalizer || !preTokenizer) throw new TypeError('the tokenizer has lost its normalizer or its pre-tokenizer');
  const counts = new Map<string, number>();
  for (const text of texts.slice(0, MAX_TEXTS)) {
    for (const word of preTokenizer.pre_tokenize([normalizer.normalize(text.slice(0, MAX_CHARACTERS))])) {
      counts.set(word, (counts.get(word) ?? 0) + 1);
    }
  }
  return vocabularyOf(learnMerges(counts, size - FIXED_TOKENS.length), maxTokens);
}
