/**
 * Where tokens lie in their text, as UTF-16 offsets, `end` exclusive, without white space around them (bytes keep
 * it); a character that several tokens share belongs to each of them. Start and end are equal for a token that stands for none of the text.
 */
export type TokenOffsets = { readonly starts: Int32Array; readonly ends: Int32Array };

/** What a text becomes before it is cut into tokens, and for each of its units where it came from. */
type Mapped = { readonly units: string; readonly starts: readonly number[]; readonly ends: readonly number[] };

/** The bytes of a text as UTF-8, at most `limit` of them, each with the place of its character. */
export function byteOffsets(text: string, limit: number): TokenOffsets {
  const starts: number[] = [];
  const ends: number[] = [];
  let at = 0;
  for (const character of text) {
    const end = at + character.length;
    for (let byte = Buffer.byteLength(character); byte > 0; byte--) {
      starts.push(at);
      ends.push(end);
    }
    at = end;
    if (starts.length >= limit) break;
  }
  return { starts: Int32Array.from(starts.slice(0, limit)), ends: Int32Array.from(ends.slice(0, limit)) };
}

/** Base characters with the marks that combine with them: what a normaliser may make one of. */
const CLUSTERS = /\P{M}\p{M}*|\p{M}+/gu;

/** A normalised text with the places of its units, cluster by cluster. */
function mapped(text: string, normalise: (text: string) => string, unitsOf: (text: string) => string): Mapped {
  const units: string[] = [];
  const starts: number[] = [];
  const ends: number[] = [];
  for (const { 0: cluster, index } of text.matchAll(CLUSTERS)) {
    for (const unit of unitsOf(normalise(cluster)).split('')) {
      units.push(unit);
      starts.push(index);
      ends.push(index + cluster.length);
    }
  }
  return { units: units.join(''), starts, ends };
}

/** How far ahead a token is looked for that does not come next: past white space, and what a normaliser leaves out. */
const LOOK_AHEAD = 64;

const SPACE = /\s/;

/**
 * Finds tokens in their text. Each is looked for after the one before it; an unknown one stands for what lies between
 * its neighbours.
 * @param text that was tokenised
 * @param tokens what each token stands for, in the units that `unitsOf` gives; undefined for one that stands for no text
 *   of its own (such as the end), '' for an unknown one
 * @param normalise what the tokenizer does to a text first
 * @param unitsOf how a normalised text is spelled in tokens: as it is, or as characters for its bytes
 */
export function alignedOffsets(
  text: string,
  tokens: readonly (string | undefined)[],
  normalise: (text: string) => string,
  unitsOf: (text: string) => string,
): TokenOffsets {
  const { units, starts, ends } = mapped(text, normalise, unitsOf);
  const result = { starts: new Int32Array(tokens.length), ends: new Int32Array(tokens.length) };
  let at = 0;
  let unknown: number | undefined;
  const put = (token: number, from: number, to: number): void => {
    if (from >= to) return;
    let [start, end] = [starts[from] as number, ends[to - 1] as number];
    while (start < end && SPACE.test(text[start] as string)) start += 1;
    while (end > start && SPACE.test(text[end - 1] as string)) end -= 1;
    result.starts[token] = start;
    result.ends[token] = end;
  };
  for (const [token, surface] of tokens.entries()) {
    if (surface === undefined) continue;
    if (surface === '') {
      unknown ??= token;
      continue;
    }
    const found = units.startsWith(surface, at)
      ? at
      : units.slice(at, at + LOOK_AHEAD + surface.length).indexOf(surface) + at;
    if (found < at) continue;
    if (unknown !== undefined) put(unknown, at, found);
    unknown = undefined;
    put(token, found, found + surface.length);
    at = found + surface.length;
  }
  if (unknown !== undefined) put(unknown, at, units.length);
  return result;
}

/** The offsets of texts' tokens by the text's number, found when they are first asked for. */
export function offsetsOf(
  texts: readonly string[],
  tokenizer: { readonly offsets: (text: string) => TokenOffsets },
): (index: number) => TokenOffsets {
  const known = new Array<TokenOffsets | undefined>(texts.length);
  return (index) => {
    known[index] ??= tokenizer.offsets(texts[index] as string);
    return known[index];
  };
}
