import type { TokenOffsets } from '../offsets.ts';
import { BEGIN, INSIDE, OUTSIDE, TAGS } from './layout.ts';

/** UTF-16 offsets into a text, `end` exclusive. */
export type Span = readonly [start: number, end: number];

/** The span without white space at its ends; empty where it is nothing else. */
export function trimmed(text: string, [start, end]: Span): Span {
  const inside = text.slice(start, end);
  const first = start + inside.length - inside.trimStart().length;
  return first >= end ? [start, start] : [first, first + inside.trim().length];
}

/** The texts of spans, trimmed; spans agree by them. */
export const textsOf = (text: string, spans: readonly Span[]): string[] =>
  spans.map(([start, end]) => text.slice(start, end).trim());

/** The tag of each token: BEGIN where it is the first that a span touches, INSIDE where it is a further one. */
export function tagsOf(spans: readonly Span[], { starts, ends }: TokenOffsets): Uint8Array {
  const tags = new Uint8Array(starts.length);
  for (const [start, end] of spans) {
    let first = true;
    for (let token = 0; token < tags.length; token++) {
      const touches = (starts[token] as number) < end && (ends[token] as number) > start;
      if (!touches || starts[token] === ends[token] || tags[token] !== OUTSIDE) continue;
      tags[token] = first ? BEGIN : INSIDE;
      first = false;
    }
  }
  return tags;
}

/** Tokens from a first to a last one; the segment before it, if any. */
type Segment = { readonly first: number; readonly last: number; readonly before: Segment | undefined };

/** Tags of the tokens so far: what they gain over being all OUTSIDE, and the last segment. */
type Path = { readonly gain: number; readonly segment: Segment | undefined };

const NO_PATH: Path = { gain: Number.NEGATIVE_INFINITY, segment: undefined };
const better = (a: Path, b: Path): Path => (a.gain >= b.gain ? a : b);

/**
 * The likeliest tags of tokens where no token is INSIDE without one before it that begins the segment: a Viterbi path,
 * with the count of segments as part of its state. O(tokens × most).
 * @param logs log probabilities [all tokens, TAGS]
 * @param tokens those that can be tagged
 * @param least segments at least
 * @param most segments at most
 * @returns the log of how much likelier it is than no segment at all, and its segments in the text's order
 */
export function likeliestSegments(
  logs: Float64Array,
  tokens: readonly number[],
  least: number,
  most: number,
): { readonly gain: number; readonly segments: readonly Segment[] } {
  const limit = Math.min(most, tokens.length);
  // By how many segments there are: those whose last segment has ended, and those in which it has not.
  let ended: Path[] = [{ gain: 0, segment: undefined }, ...new Array<Path>(limit).fill(NO_PATH)];
  let open = new Array<Path>(limit + 1).fill(NO_PATH);
  for (const token of tokens) {
    const outside = logs[TAGS * token + OUTSIDE] as number;
    const begin = (logs[TAGS * token + BEGIN] as number) - outside;
    const inside = (logs[TAGS * token + INSIDE] as number) - outside;
    const nextOpen = open.map((path, count): Path => {
      const before = count === 0 ? NO_PATH : better(ended[count - 1] as Path, open[count - 1] as Path);
      if (before.gain + begin >= path.gain + inside) {
        return before === NO_PATH
          ? NO_PATH
          : { gain: before.gain + begin, segment: { first: token, last: token, before: before.segment } };
      }
      return { gain: path.gain + inside, segment: { ...(path.segment as Segment), last: token } };
    });
    ended = ended.map((path, count) => better(path, open[count] as Path));
    open = nextOpen;
  }
  const best = [...ended.slice(least), ...open.slice(least)].reduce(better, NO_PATH);
  const segments: Segment[] = [];
  for (let { segment } = best; segment; segment = segment.before) segments.unshift(segment);
  return { gain: best.gain, segments };
}
