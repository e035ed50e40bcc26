import { cast, reshape, slice } from './emit.ts';
import type { Graph, Value } from './graph.ts';
import { elementCount, scalar, tensor, vectorOf } from './tensor.ts';

/**
 * One dropout mask of a step. Its name tells it from the step's other masks; `rate` in [0, 1) is the share that is
 * dropped, rounded to 1/256.
 */
export type MaskSpec = { readonly name: string; readonly dims: readonly number[]; readonly rate: number };

/** Odd constants of splitmix64 (Steele, Lea, Flood 2014), and of its kin: any odd ones would do. */
const STEP_GAMMA = 0xd1342543de82ef95n;
const SEED_GAMMA = 0xbf58476d1ce4e5b9n;
const MIX_1 = 0xbf58476d1ce4e5b9n;
const MIX_2 = 0x94d049bb133111ebn;
/** The 32-bit golden ratio, and the multipliers and shifts of `lowbias32` (Wellons 2018, "Prospecting for hash functions"). */
const WORD_GAMMA = 0x9e3779b9;
const WORD_ROUNDS = [
  { shift: 16, multiplier: 0x7feb352d },
  { shift: 15, multiplier: 0x846ca68b },
] as const;
const LAST_SHIFT = 16;
/** Each hashed word decides on four values, one byte each. */
const BYTES = 4;
const BYTE_VALUES = 256;
/** Word numbers are the sums of a column and a row of this length, so that no model carries them one by one. */
const ROW_WORDS = 1024;

/** FNV-1a of the mask's name, so that masks of one step differ. */
const saltOf = (name: string): bigint =>
  new TextEncoder()
    .encode(name)
    .reduce((hash, byte) => BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n), 0xcbf29ce484222325n);

/** How many of the 256 values of a byte drop, and what a kept value is multiplied by to keep the expectation. */
function threshold({ name, rate }: MaskSpec): { dropped: number; kept: number } {
  const dropped = Math.round(rate * BYTE_VALUES);
  if (!(rate >= 0) || dropped >= BYTE_VALUES) {
    throw new RangeError(`dropout "${name}": expected a rate from 0 to ${1 - 1 / BYTE_VALUES}, got ${rate}`);
  }
  return { dropped, kept: BYTE_VALUES / (BYTE_VALUES - dropped) };
}

/** Words that a mask needs, and rows of them. */
function wordsOf(count: number): { words: number; rows: number } {
  const words = Math.ceil(count / BYTES);
  return { words, rows: Math.ceil(words / ROW_WORDS) };
}

const int64 = (graph: Graph, bits: bigint): Value =>
  graph.constant(tensor('int64', [], BigInt64Array.of(BigInt.asIntN(64, bits))));
const uint32 = (graph: Graph, value: number): Value => graph.constant(scalar('uint32', value));

/** x ^ (x >>> bits). ONNX shifts only unsigned integers, and multiplies 64-bit ones only signed. */
function xorShift64(graph: Graph, value: Value, bits: number): Value {
  const distance = graph.constant(scalar('uint64', bits));
  const shifted = graph.node('BitShift', [cast(graph, value, 'uint64'), distance], { direction: 'RIGHT' });
  return graph.node('BitwiseXor', [value, cast(graph, shifted, 'int64')]);
}

/** The scalar that the mask's words start from: splitmix64 of seed, step and name, its lower 32 bits. */
function key(graph: Graph, seed: Value, step: Value, name: string): Value {
  const clock = graph.node('Add', [
    graph.node('Mul', [seed, int64(graph, SEED_GAMMA)]),
    graph.node('Mul', [step, int64(graph, STEP_GAMMA)]),
  ]);
  const state = graph.node('Add', [clock, int64(graph, saltOf(name))]);
  const first = graph.node('Mul', [xorShift64(graph, state, 30), int64(graph, MIX_1)]);
  const second = graph.node('Mul', [xorShift64(graph, first, 27), int64(graph, MIX_2)]);
  return cast(graph, graph.node('BitwiseAnd', [xorShift64(graph, second, 31), int64(graph, 0xffffffffn)]), 'uint32');
}

const shiftRight = (graph: Graph, value: Value, bits: number): Value =>
  graph.node('BitShift', [value, uint32(graph, bits)], { direction: 'RIGHT' });
const xorShift = (graph: Graph, value: Value, bits: number): Value =>
  graph.node('BitwiseXor', [value, shiftRight(graph, value, bits)]);

/** `rows` × `ROW_WORDS` hashed words: lowbias32 of start + number × the golden ratio. */
function hashedWords(graph: Graph, start: Value, rows: number): Value {
  const multiples = (count: number, of: number): number[] =>
    Array.from({ length: count }, (_, i) => Math.imul(i * of, WORD_GAMMA) >>> 0);
  const column = graph.constant(vectorOf('uint32', multiples(rows, ROW_WORDS), [rows, 1]));
  const row = graph.constant(vectorOf('uint32', multiples(ROW_WORDS, 1), [1, ROW_WORDS]));
  let word = graph.node('Add', [graph.node('Add', [column, start]), row]);
  for (const { shift, multiplier } of WORD_ROUNDS) {
    word = graph.node('Mul', [xorShift(graph, word, shift), uint32(graph, multiplier)]);
  }
  return xorShift(graph, word, LAST_SHIFT);
}

/**
 * Emits an inverted dropout mask: float32 of the spec's dims, 0 with its rate, else 1/(1 − rate). A value is a hash of
 * seed, step, the mask's name and its own place, and of nothing else, so that a resumed run, and another engine
 * (`hostMask`), draw the same masks.
 * @param seed int64 scalar.
 * @param step int64 scalar, the number of the training step.
 */
export function dropoutMask(graph: Graph, seed: Value, step: Value, spec: MaskSpec): Value {
  const { dropped, kept } = threshold(spec);
  const count = elementCount(spec.dims);
  const { words, rows } = wordsOf(count);
  const hashed = slice(
    graph,
    reshape(graph, hashedWords(graph, key(graph, seed, step, spec.name), rows), [-1]),
    0,
    0,
    words,
  );
  // A cast to uint8 keeps the lowest byte. Bytes of the same rank lie together: value i is byte ⌊i/words⌋ of word i mod words.
  const bytes = Array.from({ length: BYTES }, (_, i) =>
    cast(graph, i === 0 ? hashed : shiftRight(graph, hashed, 8 * i), 'uint8'),
  );
  const drawn = reshape(graph, slice(graph, graph.node('Concat', bytes, { axis: 0 }), 0, 0, count), spec.dims);
  const isDropped = graph.node('Less', [drawn, graph.constant(scalar('uint8', dropped))]);
  const constant = (value: number): Value => graph.constant(scalar('float32', value));
  return graph.node('Where', [isDropped, constant(0), constant(kept)]);
}

function hostKey(seed: number, step: number, name: string): number {
  const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);
  let state = u64(BigInt(seed) * SEED_GAMMA + BigInt(step) * STEP_GAMMA + saltOf(name));
  state = u64((state ^ (state >> 30n)) * MIX_1);
  state = u64((state ^ (state >> 27n)) * MIX_2);
  return Number((state ^ (state >> 31n)) & 0xffffffffn);
}

/** The mask that `dropoutMask` draws, bit for bit, for engines that cannot hash. */
export function hostMask(spec: MaskSpec, seed: number, step: number): Float32Array {
  const { dropped, kept } = threshold(spec);
  const mask = new Float32Array(elementCount(spec.dims));
  const { words } = wordsOf(mask.length);
  const start = hostKey(seed, step, spec.name);
  for (let i = 0; i < words; i++) {
    let word = (start + Math.imul(i, WORD_GAMMA)) | 0;
    for (const { shift, multiplier } of WORD_ROUNDS) word = Math.imul(word ^ (word >>> shift), multiplier);
    word ^= word >>> LAST_SHIFT;
    for (let rank = 0, at = i; rank < BYTES && at < mask.length; rank++, at += words) {
      mask[at] = ((word >>> (8 * rank)) & 0xff) < dropped ? 0 : kept;
    }
  }
  return mask;
}
