import * as tf from '@tensorflow/tfjs-core';
import type { GraphNode, Value } from '../../graph.ts';
import type { NodeContext } from '../../operators/context.ts';
import type { ElementType, TensorValue } from '../../tensor.ts';

/** A node on its walk: its tensors, beside what the graph says of it. An absent optional input has none. */
export type WalkedNode = NodeContext & {
  readonly outputs: GraphNode['outputs'];
  readonly tensor: (index: number) => tf.Tensor | undefined;
};

/** What tfjs computes for a node, one tensor an output. */
export type Walk = (node: WalkedNode) => tf.Tensor | readonly tf.Tensor[];
export type Walks = Readonly<Record<string, Walk>>;

export function tensorAt(node: WalkedNode, index: number): tf.Tensor {
  const tensor = node.tensor(index);
  if (!tensor) throw new RangeError(`expected input ${index}, got ${node.inputs.length} inputs without it`);
  return tensor;
}

/** The tensors of all inputs that are there. */
export const tensorsOf = (node: WalkedNode): tf.Tensor[] =>
  node.inputs.map((_, index) => node.tensor(index)).filter((tensor) => tensor !== undefined);

export const outputOf = (node: WalkedNode): Value => node.outputs[0] as Value;

export function floatAttribute(node: WalkedNode, name: string, fallback: number): number {
  const value = node.attributes[name];
  if (value === undefined) return fallback;
  if (typeof value === 'object' && 'float' in value) return value.float;
  throw new TypeError(`attribute ${name}: expected a float`);
}

/** A scalar input, which must be constant; undefined where it is absent. */
export function optionalScalar(node: WalkedNode, index: number): number | undefined {
  const value = node.inputs[index];
  if (!value) return undefined;
  const constant = node.constantOf(value);
  if (constant?.data.length !== 1) throw new TypeError(`input ${index}: expected a constant scalar`);
  return Number(constant.data[0]);
}

export const unary =
  (compute: (x: tf.Tensor) => tf.Tensor): Walk =>
  (node) =>
    compute(tensorAt(node, 0));

export const binary =
  (compute: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor): Walk =>
  (node) =>
    compute(tensorAt(node, 0), tensorAt(node, 1));

/** A function of a tensor from which no gradient goes back to it. */
export const withoutGradient = (x: tf.Tensor, compute: (x: tf.Tensor) => tf.Tensor): tf.Tensor =>
  tf.customGrad((given) => ({ value: compute(given as tf.Tensor), gradFunc: () => tf.zerosLike(given as tf.Tensor) }))(
    x,
  );

/** tfjs has no integer but int32, and no float but float32. */
export const tfjsType = (type: ElementType): 'float32' | 'int32' | 'bool' =>
  type === 'bool' ? 'bool' : type === 'float32' || type === 'float64' ? 'float32' : 'int32';

const INT32_LIMIT = 2 ** 31;

/**
 * A tensor with a copy of the value's numbers, as tfjs holds them.
 * @throws RangeError for a 64-bit integer that int32 does not hold.
 */
export function toTfjs({ type, dims, data }: TensorValue): tf.Tensor {
  const kind = tfjsType(type);
  if (kind === 'float32') return tf.tensor(Float32Array.from(data as Float32Array), [...dims], kind);
  if (kind === 'bool') return tf.tensor(Uint8Array.from(data as Uint8Array), [...dims], kind);
  const wrong = data.findIndex((value: number | bigint) => value >= INT32_LIMIT || value < -INT32_LIMIT);
  if (wrong >= 0) throw new RangeError(`tfjs has no integers wider than int32; element ${wrong} is ${data[wrong]}`);
  return tf.tensor(Int32Array.from(data as Int32Array, Number), [...dims], kind);
}
