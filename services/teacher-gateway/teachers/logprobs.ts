import { type Head, LEFT_OUT, LEFT_TO_TEACHER, PRESENT } from '@understudy/task/output/head';
import { scalarSpans } from './json-spans.ts';

/** A token of an answer as OpenAI's API reports it, and what could have stood in its place. */
export interface TokenLogprob {
  readonly token: string;
  readonly bytes?: readonly number[] | null;
  readonly logprob: number;
  readonly top_logprobs?: readonly Omit<TokenLogprob, 'top_logprobs'>[];
}

/** Probability that may go to labels that nobody can tell: what is below the alternatives that are listed, or begins several labels. */
const MAX_UNKNOWN = 0.02;

const bytesOf = ({ token, bytes }: Pick<TokenLogprob, 'token' | 'bytes'>): Buffer =>
  bytes ? Buffer.from(bytes) : Buffer.from(token);

/**
 * Probabilities of a choice's values, from those of the answer's tokens. A value that is not the answer's has the
 * probability of all tokens along the answer after which it alone remains possible, times that of the way there; so values
 * that begin alike are told apart where they part. Given are those heads alone for which that is known but for MAX_UNKNOWN.
 * A later field's probabilities are those after the earlier ones that the answer has.
 * @param content the answer, JSON
 */
export const softFromLogprobs = (
  content: string,
  tokens: readonly TokenLogprob[],
  heads: readonly Head[],
): Record<string, number[]> => {
  const texts = tokens.map(bytesOf);
  // Behind the answer there may be tokens that end it, which are no text.
  if (content === '' || !Buffer.concat(texts).subarray(0, Buffer.byteLength(content)).equals(Buffer.from(content)))
    return {};
  const spans = spansOf(content);
  const soft: Record<string, number[]> = {};
  for (const head of heads) {
    const span = spans?.get(head.name);
    if (head.kind !== 'choice' || !span || !head.values.every(isWritten)) continue;
    const probabilities = along(
      tokens,
      texts,
      candidatesOf(content, span, head.values),
      Buffer.byteLength(content.slice(0, span.start)),
    );
    if (probabilities) soft[head.name] = probabilities;
  }
  return soft;
};

const isWritten = (value: string): boolean => value !== LEFT_OUT && value !== PRESENT && value !== LEFT_TO_TEACHER;

const spansOf = (content: string) => {
  try {
    return scalarSpans(content);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
};

/** The whole answer with each of the values in its place; the one that it has as it was written. */
const candidatesOf = (
  content: string,
  { start, end }: { start: number; end: number },
  values: readonly string[],
): Buffer[] => {
  const written = content.slice(start, end);
  const own = JSON.stringify(JSON.parse(written));
  return values.map((value) =>
    Buffer.from(content.slice(0, start) + (value === own ? written : value) + content.slice(end)),
  );
};

/** @param valueStart in bytes of the answer */
const along = (
  tokens: readonly TokenLogprob[],
  texts: readonly Buffer[],
  candidates: readonly Buffer[],
  valueStart: number,
): number[] | undefined => {
  const probabilities = candidates.map(() => 0);
  let prefix = Buffer.alloc(0);
  let reached = 1;
  let outside = 0;
  let possible = candidates.map((_, index) => index);
  for (const [index, token] of tokens.entries()) {
    const text = texts[index]!;
    const before = prefix;
    prefix = Buffer.concat([before, text]);
    if (prefix.length <= valueStart) continue;
    const after = (other: Buffer) => startingWith(candidates, possible, Buffer.concat([before, other]));
    for (const other of token.top_logprobs ?? []) {
      const otherText = bytesOf(other);
      if (otherText.equals(text)) continue;
      const left = after(otherText);
      const mass = reached * Math.exp(other.logprob);
      if (left.length === 1) probabilities[left[0]!]! += mass;
      if (left.length === 0) outside += mass;
    }
    reached *= Math.exp(token.logprob);
    possible = after(text);
    if (possible.length <= 1) break;
  }
  if (possible.length !== 1) return undefined;
  probabilities[possible[0]!]! += reached;
  const known = probabilities.reduce((sum, each) => sum + each, 0);
  if (1 - known - outside > MAX_UNKNOWN * known) return undefined;
  return probabilities.map((each) => each / known);
};

const startingWith = (candidates: readonly Buffer[], among: readonly number[], prefix: Buffer): number[] =>
  among.filter((index) => candidates[index]!.subarray(0, prefix.length).equals(prefix));
