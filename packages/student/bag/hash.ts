import { cast, type Graph, ints, reshape, scalar, slice, type Value, vectorOf } from '@understudy/graph';
import { PAD_ID } from '../bytes.ts';

/** Lengths of the byte n-grams. */
export const NGRAM_SIZES = [2, 3, 4, 5] as const;
const LONGEST = Math.max(...NGRAM_SIZES);
const MULTIPLIER = 263;
const MODULUS = 2 ** 31 - 1;
const SPACE = 0x20;

/** Bytes as the hash sees them: ASCII letters in lower case, every ASCII white space a space. */
function folded(byte: number): number {
  if (byte >= 0x41 && byte <= 0x5a) return byte + 0x20;
  return byte >= 0x09 && byte <= 0x0d ? SPACE : byte;
}

/**
 * Folded bytes, counted from the space. The space being 0, padding with zeros is padding with spaces, so that words at
 * both ends of a text have the same n-grams as words in its middle.
 */
const FOLDED_FROM_SPACE = Array.from({ length: PAD_ID + 1 }, (_, id) => (id === PAD_ID ? 0 : folded(id) - SPACE));

/** The part of an n-gram's hash that comes from counting bytes from the space: Σ (space + 1)·263ᵏ. */
const spacesOf = (size: number): number =>
  Array.from({ length: size }).reduce<number>((sum) => sum * MULTIPLIER + SPACE + 1, 0);

/** Stacks values [batch, n] to [batch, values × n], the first value first. */
function stack(graph: Graph, values: readonly Value[]): Value {
  const rows = values.map((value) => graph.node('Unsqueeze', [value, ints(graph, [1])]));
  return graph.node('Concat', rows, { axis: 1 });
}

/** The `positions` values from `start` on, of `positions + LONGEST − 1`. */
const window = (graph: Graph, value: Value, start: number): Value =>
  slice(graph, value, 1, start, start === LONGEST - 1 ? Number.MAX_SAFE_INTEGER : start - (LONGEST - 1));

/**
 * Emits the hashing of texts to rows of an embedding table: for each text, for each n-gram size, at each position of
 * the text with one space before and after it, v ← (v·263 + byte + 1) mod (2³¹ − 1) over the n-gram's bytes, then
 * v mod `rows`. The modulus is taken once, at the end: five bytes stay below 2⁵³, so the row is the same.
 * @param inputIds int64 [batch, sequence] byte ids, padded on the right.
 * @param attentionMask int64 [batch, sequence]: 1 for a byte, 0 for padding.
 * @param rows size of the table, a power of two.
 * @returns `rows` int64 [batch, n-grams] and `valid` uint8 of the same shape: 1 where an n-gram lies within its text.
 */
export function ngramRows(graph: Graph, inputIds: Value, attentionMask: Value, rows: number): NgramRows {
  const bytes = graph.node('Gather', [graph.constant(vectorOf('int64', FOLDED_FROM_SPACE)), inputIds]);
  const text = graph.node('Mul', [bytes, attentionMask]);
  const spaced = graph.node('Pad', [text, ints(graph, [0, 1, 0, LONGEST])]);
  const multiplier = graph.constant(scalar('int64', MULTIPLIER));
  let hash = window(graph, spaced, 0);
  const hashes: Value[] = [];
  for (let size = 2; size <= LONGEST; size++) {
    hash = graph.node('Add', [graph.node('Mul', [hash, multiplier]), window(graph, spaced, size - 1)]);
    if (NGRAM_SIZES.some((wanted) => wanted === size)) hashes.push(hash);
  }
  const offsets = graph.constant(vectorOf('int64', NGRAM_SIZES.map(spacesOf), [1, NGRAM_SIZES.length, 1]));
  const values = graph.node('Add', [stack(graph, hashes), offsets]);
  const hashed = graph.node('Mod', [values, graph.constant(scalar('int64', MODULUS))]);
  const row = graph.node('BitwiseAnd', [hashed, graph.constant(scalar('int64', rows - 1))]);
  return {
    rows: reshape(graph, row, [0, -1]),
    valid: reshape(graph, validNgrams(graph, attentionMask), [0, -1]),
  };
}

export type NgramRows = { readonly rows: Value; readonly valid: Value };

/** An n-gram is valid if its last byte is: two more positions than bytes are, the spaces at both ends. */
function validNgrams(graph: Graph, attentionMask: Value): Value {
  const one = graph.constant(scalar('uint8', 1));
  const left = graph.node('Pad', [cast(graph, attentionMask, 'uint8'), ints(graph, [0, 2, 0, 0]), one]);
  const padded = graph.node('Pad', [left, ints(graph, [0, 0, 0, LONGEST - 1])]);
  return stack(
    graph,
    NGRAM_SIZES.map((size) => window(graph, padded, size - 1)),
  );
}
