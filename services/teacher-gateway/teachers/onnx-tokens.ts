import { Tokenizer } from '@huggingface/tokenizers';
import type { ClassifierFolder } from './onnx-folder.ts';

/** A token seldom stands for more characters: of a text that is far longer than the limit, only the beginning is tokenised. */
const CHARACTERS_PER_TOKEN = 64;

export interface Tokens {
  readonly ids: readonly number[];
  /** Which text of a pair each token belongs to; 0 where it is not said. */
  readonly types: readonly number[];
}

export interface TextEncoder {
  readonly padId: number;
  /** Tokens of a text, or of a premise and a hypothesis; of what is too long, the end of the (first) text is left out. */
  encode(text: string, hypothesis?: string): Tokens;
}

/** Rejects with what the library throws when the files hold no tokenizer that it can run. */
export const openTextEncoder = async ({
  tokenizer: files,
  padToken,
  maxTokens,
}: ClassifierFolder): Promise<TextEncoder> => {
  const tokenizer = new Tokenizer(files.json, files.config);
  const encode = (text: string, hypothesis?: string): Tokens => {
    const shown = text.slice(0, maxTokens * CHARACTERS_PER_TOKEN);
    const pair = hypothesis === undefined ? {} : { text_pair: hypothesis };
    // A tokenizer that puts nothing around a text says nothing of types either, whatever the library declares.
    const { ids, token_type_ids: types = [] } = tokenizer.encode(shown, { ...pair, return_token_type_ids: true });
    const over = ids.length - maxTokens;
    if (over <= 0) return { ids, types };
    const own = tokenizer.encode(shown, { add_special_tokens: false }).ids;
    if (over > own.length) {
      throw new RangeError(
        `the model reads ${maxTokens} tokens, and ${ids.length - own.length} are the hypothesis; shorten it`,
      );
    }
    const until = startOf(own, ids) + own.length;
    const keep = (_: number, index: number) => index < until - over || index >= until;
    return { ids: ids.filter(keep), types: types.filter(keep) };
  };
  encode('a text to try it with');
  return { padId: (padToken === undefined ? undefined : tokenizer.token_to_id(padToken)) ?? 0, encode };
};

/** Where the tokens of a text begin among those of the whole: after what the tokenizer puts before it. */
const startOf = (own: readonly number[], ids: readonly number[]): number => {
  for (let start = 0; start + own.length <= ids.length; start += 1) {
    if (own.every((id, index) => ids[start + index] === id)) return start;
  }
  throw new RangeError(
    'expected the tokens of a text within those of text and hypothesis; shorten prompt.maxCharacters',
  );
};
