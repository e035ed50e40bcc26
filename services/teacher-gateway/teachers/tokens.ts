/** Role markers and separators that a server puts around a message. */
const TOKENS_PER_MESSAGE = 8;

/** At most so many tokens: UTF-8 never needs more than it has bytes, in any tokenizer in use. */
export const maxTokensOf = (text: string): number => Buffer.byteLength(text);

/** At most so many tokens of what is the same in every request. */
export const maxFixedTokens = (parts: unknown, messages: number): number =>
  maxTokensOf(JSON.stringify(parts)) + (messages + 2) * TOKENS_PER_MESSAGE;
