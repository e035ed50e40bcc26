import { cast } from './emit.ts';
import type { Graph, Value } from './graph.ts';
import { scalar, tensor } from './tensor.ts';

/** Odd constants of splitmix64 (Steele, Lea, Flood 2014) and, for seed and step, of its kin: any odd ones would do. */
const POSITION_GAMMA = 0x9e3779b97f4a7c15n;
const STEP_GAMMA = 0xd1342543de82ef95n;
const SEED_GAMMA = 0xbf58476d1ce4e5b9n;
const MIX_1 = 0xbf58476d1ce4e5b9n;
const MIX_2 = 0x94d049bb133111ebn;
/** The upper bits of the hash that are compared with the dropout rate; 24, so that a float32 holds them exactly. */
const COMPARED_BITS = 24;

const int64 = (graph: Graph, bits: bigint): Value =>
  graph.constant(tensor('int64', [], BigInt64Array.of(BigInt.asIntN(64, bits))));

/** A logical shift: ONNX shifts only unsigned integers, and multiplies only signed ones. */
function shiftRight(graph: Graph, value: Value, bits: number): Value {
  const distance = graph.constant(scalar('uint64', bits));
  const shifted = graph.node('BitShift', [cast(graph, value, 'uint64'), distance], { direction: 'RIGHT' });
  return cast(graph, shifted, 'int64');
}

const xorShift = (graph: Graph, value: Value, bits: number): Value =>
  graph.node('BitwiseXor', [value, shiftRight(graph, value, bits)]);

/** splitmix64's output function over int64 arithmetic, which wraps around in ONNX Runtime. */
function mix(graph: Graph, state: Value): Value {
  const first = graph.node('Mul', [xorShift(graph, state, 30), int64(graph, MIX_1)]);
  const second = graph.node('Mul', [xorShift(graph, first, 27), int64(graph, MIX_2)]);
  return xorShift(graph, second, 31);
}

/**
 * Inverted dropout as a mask of `count` float32 values: 0 with probability `rate`, else 1/(1 − rate). Value i is a hash
 * of (seed, step, i) and of nothing else, so that a resumed run, and another engine, draw the same masks.
 * @param seed int64 scalar.
 * @param step int64 scalar, the number of the training step.
 * @param rate in [0, 1).
 */
export function dropoutMask(graph: Graph, seed: Value, step: Value, count: number, rate: number): Value {
  const stream = graph.node('Add', [
    graph.node('Mul', [seed, int64(graph, SEED_GAMMA)]),
    graph.node('Mul', [step, int64(graph, STEP_GAMMA)]),
  ]);
  const positions = BigInt64Array.from({ length: count }, (_, i) => BigInt.asIntN(64, BigInt(i + 1) * POSITION_GAMMA));
  const state = graph.node('Add', [graph.constant(tensor('int64', [count], positions)), mix(graph, stream)]);
  const drawn = shiftRight(graph, mix(graph, state), 64 - COMPARED_BITS);
  const dropped = graph.node('Less', [drawn, graph.constant(scalar('int64', Math.round(rate * 2 ** COMPARED_BITS)))]);
  const kept = graph.constant(scalar('float32', 1 / (1 - rate)));
  return graph.node('Where', [dropped, graph.constant(scalar('float32', 0)), kept]);
}
