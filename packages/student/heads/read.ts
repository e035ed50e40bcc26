import type { Head, HeadValue } from '@understudy/task/output/head';
import { argmax } from '../examples.ts';
import type { TokenOffsets } from '../offsets.ts';
import { OUTSIDE, TAGS, widthOf } from './layout.ts';
import { likeliestSegments, type Span, trimmed } from './spans.ts';

/** What a student gives for one text: the logits of each head by its name, and where the tokens lie that spans speak of. */
export type Prediction = {
  /** [labels] of a choice or a set, [bins and absence] of a number, [tokens × TAGS] of a span. */
  readonly logits: Readonly<Record<string, Float32Array>>;
  /** With span heads: the text's tokens. */
  readonly tokens?: TokenOffsets;
};

/** A head's likeliest value, and the probability of it. */
export type Reading = { readonly value: HeadValue; readonly confidence: number };

/** log softmax(logits / temperature) of `count` logits from `at` on. */
function logSoftmax(
  logits: ArrayLike<number>,
  at: number,
  count: number,
  temperature: number,
  into: Float64Array,
): void {
  let largest = Number.NEGATIVE_INFINITY;
  for (let i = at; i < at + count; i++) largest = Math.max(largest, logits[i] as number);
  let sum = 0;
  for (let i = at; i < at + count; i++) sum += Math.exp(((logits[i] as number) - largest) / temperature);
  for (let i = at; i < at + count; i++) into[i] = ((logits[i] as number) - largest) / temperature - Math.log(sum);
}

function logsOf(logits: ArrayLike<number>, width: number, temperature: number): Float64Array {
  const logs = new Float64Array(logits.length);
  for (let at = 0; at < logits.length; at += width) logSoftmax(logits, at, width, temperature, logs);
  return logs;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** The likeliest set of the allowed size: labels likelier in than out, and so many more or fewer as the size asks for. */
function readTags(
  { minItems, maxItems }: Extract<Head, { kind: 'tags' }>,
  logits: Float32Array,
  temperature: number,
): Reading {
  const ranked = [...logits.keys()].sort((a, b) => (logits[b] as number) - (logits[a] as number));
  const likely = ranked.filter((label) => (logits[label] as number) > 0).length;
  const chosen = new Set(ranked.slice(0, Math.min(maxItems, Math.max(minItems, likely))));
  let confidence = 1;
  for (const [label, logit] of logits.entries())
    confidence *= sigmoid((chosen.has(label) ? logit : -logit) / temperature);
  return { value: { kind: 'tags', indices: [...chosen].sort((a, b) => a - b) }, confidence };
}

/** Absence, or the bin around which the most probability lies within the tolerance. */
function readNumber(head: Extract<Head, { kind: 'number' }>, logits: Float32Array, temperature: number): Reading {
  const { bins, tolerance, absent } = head;
  const shares = logsOf(logits, logits.length, temperature).map(Math.exp);
  const near = (bin: number): number =>
    bins.reduce((sum, other, i) => (Math.abs(other - bin) <= tolerance ? sum + (shares[i] as number) : sum), 0);
  const windows = bins.map(near);
  const best = argmax(windows);
  const absence = absent === undefined ? 0 : (shares[bins.length] as number);
  return absence > 0.5 || absence > (windows[best] as number)
    ? { value: { kind: 'number', value: undefined }, confidence: absence }
    : { value: { kind: 'number', value: bins[best] }, confidence: Math.min(1, windows[best] as number) };
}

/** The likeliest spans that the head allows, in the text's order; and the product of the probabilities of all tags. */
function readSpans(
  { many, maxItems, absent }: Extract<Head, { kind: 'span' }>,
  logits: Float32Array,
  temperature: number,
  { starts, ends }: TokenOffsets,
  text: string,
): Reading {
  const logs = logsOf(logits, TAGS, temperature);
  const tokens = [...starts.keys()].filter((token) => (starts[token] as number) < (ends[token] as number));
  const least = many || absent !== undefined ? 0 : Math.min(1, tokens.length);
  const { gain, segments } = likeliestSegments(logs, tokens, least, maxItems);
  const outside = tokens.reduce((sum, token) => sum + (logs[TAGS * token + OUTSIDE] as number), 0);
  const spans: Span[] = [];
  for (const { first, last } of segments) {
    // Two tokens can share a character, of which a span takes the whole.
    const start = Math.max(starts[first] as number, spans.at(-1)?.[1] ?? 0);
    const span = trimmed(text, [start, ends[last] as number]);
    if (span[0] < span[1]) spans.push(span);
  }
  return { value: { kind: 'span', spans }, confidence: Math.exp(outside + gain) };
}

/** What a head's logits say of a text. */
export function readHead(head: Head, prediction: Prediction, temperature: number, text: string): Reading {
  const logits = prediction.logits[head.name];
  if (!logits) throw new RangeError(`the student gave no logits for "${head.name}"; it was made for other heads`);
  if (head.kind !== 'span' && logits.length !== widthOf(head)) {
    throw new RangeError(`expected ${widthOf(head)} logits of "${head.name}", got ${logits.length}`);
  }
  switch (head.kind) {
    case 'choice': {
      const logs = logsOf(logits, logits.length, temperature);
      const index = argmax(logits);
      return { value: { kind: 'choice', index }, confidence: Math.exp(logs[index] as number) };
    }
    case 'tags':
      return readTags(head, logits, temperature);
    case 'number':
      return readNumber(head, logits, temperature);
    case 'span':
      return readSpans(head, logits, temperature, prediction.tokens as TokenOffsets, text);
  }
}
