import { isDeepStrictEqual } from 'node:util';
import { Tokenizer } from '@huggingface/tokenizers';
import { z } from 'zod';
import { byteCharacters, byteTokenizer, PAD_ID, type TextTokenizer } from './bytes.ts';
import { TokenizerError } from './errors.ts';
import { MAX_TEXT_BYTES, MAX_TOKENS } from './limits.ts';
import { alignedOffsets, type TokenOffsets } from './offsets.ts';

export const PAD_TOKEN = '<pad>';

/** A tokenizer as others load it: `tokenizer.json` and `tokenizer_config.json`. */
export type TokenizerFiles = { readonly json: unknown; readonly config: unknown };

/** What sets one byte-level BPE apart from another, in the terms of tokenizer.json. */
export type ByteLevelBpe = {
  readonly truncation: object | null;
  readonly normalizer: object | null;
  /** Whether texts are cut into words, each with the space before it, and pairs are merged within them alone. */
  readonly words: boolean;
  readonly vocab: Readonly<Record<string, number>>;
  readonly merges: readonly (readonly [string, string])[];
};

/** A Hugging Face tokenizer.json. No token is an added one, or a user's text "<pad>" would become one id. */
export function bpeTokenizerJson({ truncation, normalizer, words, vocab, merges }: ByteLevelBpe): unknown {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: words, trim_offsets: false, use_regex: words };
  return {
    version: '1.0',
    truncation,
    padding: null,
    added_tokens: [],
    normalizer,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges,
    },
  };
}

/** The tokenizer_config.json that goes with it. */
export const bpeTokenizerConfig = (maxTokens: number): object => ({
  tokenizer_class: 'PreTrainedTokenizerFast',
  model_max_length: maxTokens,
  model_input_names: ['input_ids', 'attention_mask'],
  pad_token: PAD_TOKEN,
  padding_side: 'right',
  truncation_side: 'right',
  clean_up_tokenization_spaces: false,
});

/** Maps a text to its UTF-8 bytes: the 256 byte characters without merges, and padding. */
function byteTokenizerJson(): unknown {
  const bytes = byteCharacters().map((character, byte) => [character, byte] as const);
  const vocab = Object.fromEntries([...bytes, [PAD_TOKEN, PAD_ID]]);
  return bpeTokenizerJson({ truncation: null, normalizer: null, words: false, vocab, merges: [] });
}

/** The tokenizer of students that read bytes. */
export const byteTokenizerFiles = (): TokenizerFiles => ({
  json: byteTokenizerJson(),
  config: bpeTokenizerConfig(MAX_TEXT_BYTES),
});

/** Settings of tokenizer_config.json that are read here; the rest is for others. */
const ConfigSchema = z.looseObject({
  pad_token: z.union([z.string(), z.object({ content: z.string() })]),
  model_max_length: z.number().positive(),
});

/** What tokenizer.json must say, because the library would take an unknown model for a table of whole words. */
const JsonSchema = z.looseObject({
  model: z.looseObject({
    type: z.enum(['WordPiece', 'BPE', 'Unigram']),
    unk_token: z.string().nullish(),
    continuing_subword_prefix: z.string().nullish(),
  }),
  decoder: z.looseObject({ type: z.string() }).nullish(),
});

const messageOf = (error: unknown): string => {
  if (error instanceof z.ZodError) return z.prettifyError(error);
  return error instanceof Error ? error.message : String(error);
};

/** A token seldom stands for more characters: of a text that is far longer than the limit, only the beginning is tokenised. */
const CHARACTERS_PER_TOKEN = 64;

function openHuggingFaceTokenizer({ json, config }: TokenizerFiles): TextTokenizer {
  const { decoder } = JsonSchema.parse(json);
  const { pad_token: pad, model_max_length: limit } = ConfigSchema.parse(config);
  const tokenizer = new Tokenizer(json as object, config as object);
  const padToken = typeof pad === 'string' ? pad : pad.content;
  const padId = tokenizer.token_to_id(padToken);
  if (padId === undefined) throw new RangeError(`the padding token "${padToken}" is not in the vocabulary`);
  const maxTokens = Math.min(limit, MAX_TOKENS);
  // What the post-processor puts around a text; it is kept when the text between is cut.
  const suffix = tokenizer.encode('').ids.slice(1);
  const encode = (text: string): number[] => {
    const { ids } = tokenizer.encode(text.slice(0, maxTokens * CHARACTERS_PER_TOKEN));
    return ids.length <= maxTokens ? ids : [...ids.slice(0, maxTokens - suffix.length), ...suffix];
  };
  encode('a text to try it with');
  const surfacesOf = surfaces(tokenizer, json);
  const normalise = (text: string): string => tokenizer.normalizer?.normalize(text) ?? text;
  const unitsOf = decoder?.type === 'ByteLevel' ? byteUnits : (text: string): string => text;
  const offsets = (text: string): TokenOffsets => {
    const read = text.slice(0, maxTokens * CHARACTERS_PER_TOKEN);
    return alignedOffsets(read, surfacesOf(encode(text), read), normalise, unitsOf);
  };
  return { padId, encode, count: (text) => encode(text).length, offsets };
}

const BYTE_CHARACTERS = byteCharacters();
/** A text as a byte-level tokenizer spells it: one character a byte. */
const byteUnits = (text: string): string => Array.from(Buffer.from(text), (byte) => BYTE_CHARACTERS[byte]).join('');

/** A space before a word, as a byte's character or as it is. */
const SPACES = [BYTE_CHARACTERS[0x20] as string, ' '];

/** What the tokens of a text stand for: see `alignedOffsets`. */
function surfaces(
  tokenizer: Tokenizer,
  json: unknown,
): (ids: ArrayLike<number>, text: string) => (string | undefined)[] {
  const { model } = JsonSchema.parse(json);
  const added = tokenizer.get_added_tokens_decoder();
  const surfaceOf = (id: number): string | undefined => {
    const token = tokenizer.id_to_token(id);
    if (token === undefined || added.get(id)?.special) return token === model.unk_token ? '' : undefined;
    const prefix = model.continuing_subword_prefix;
    if (prefix && token.startsWith(prefix)) return token.slice(prefix.length);
    return token.startsWith('▁') ? ` ${token.slice(1)}` : token;
  };
  return (ids, text) => {
    const given = Array.from(ids, surfaceOf);
    // A space that the tokenizer put before the first word is not in the text.
    const first = given.findIndex((surface) => surface !== undefined && surface !== '');
    const surface = given[first];
    if (surface && !/^\s/.test(text) && SPACES.includes(surface[0] as string))
      given[first] = surface.slice(1) || undefined;
    return given;
  };
}

/**
 * Opens a tokenizer for encoding.
 * @throws TokenizerError when the files hold none that this version can run.
 */
export function loadTokenizer(files: TokenizerFiles): TextTokenizer {
  if (isDeepStrictEqual(files, byteTokenizerFiles())) return byteTokenizer;
  try {
    return openHuggingFaceTokenizer(files);
  } catch (cause) {
    throw new TokenizerError(`the tokenizer cannot be used: ${messageOf(cause)}`, { cause });
  }
}
