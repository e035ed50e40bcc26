import * as tf from '@tensorflow/tfjs-core';
import { staticShape } from '../../emit.ts';
import { constantInts, inputOf, intAttribute, stringAttribute } from '../../operators/context.ts';
import { clampCut, cutsOf } from '../../operators/indexing.ts';
import { normalizeAxis } from '../../shape.ts';
import { elementCount } from '../../tensor.ts';
import { optionalScalar, outputOf, tensorAt, tensorsOf, type Walk, type WalkedNode, type Walks } from './context.ts';

const axisOf = (node: WalkedNode): number =>
  normalizeAxis(intAttribute(node, 'axis', 0), inputOf(node, 0).shape.length);

const int32 = (value: number): tf.Scalar => tf.scalar(value, 'int32');
const flat = (x: tf.Tensor): tf.Tensor1D => tf.reshape(x, [-1]);

/** Indices below zero count from the end in ONNX, and are an error in tfjs. */
const fromStart = (indices: tf.Tensor, dim: number): tf.Tensor =>
  tf.where(tf.less(indices, 0), tf.add(indices, int32(dim)), indices);

const gather: Walk = (node) => {
  const data = tensorAt(node, 0);
  const axis = axisOf(node);
  return tf.gather(data, fromStart(tensorAt(node, 1), data.shape[axis] as number) as tf.Tensor1D, axis);
};

const stridesOf = (dims: readonly number[]): number[] => dims.map((_, axis) => elementCount(dims.slice(axis + 1)));

/** For each element of `indices`, where in the data, laid out flat, the element is that it means along the axis. */
function places(node: WalkedNode): tf.Tensor1D {
  const dims = staticShape(inputOf(node, 0));
  const indices = tensorAt(node, 1);
  const [axis, strides] = [axisOf(node), stridesOf(dims)];
  const along = tf.mul(fromStart(indices, dims[axis] as number), int32(strides[axis] as number));
  const others = dims.map((_, other) => {
    if (other === axis) return along;
    const numbers = tf.mul(tf.range(0, indices.shape[other] as number, 1, 'int32'), int32(strides[other] as number));
    return tf.reshape(
      numbers,
      dims.map((_, i) => (i === other ? -1 : 1)),
    );
  });
  return flat(others.reduce((a, b) => tf.add(a, b)));
}

const gatherElements: Walk = (node) =>
  tf.reshape(tf.gather(flat(tensorAt(node, 0)), places(node)), [...staticShape(outputOf(node))]);

/** Rows of the data, flattened to the depth of the indices. */
const gatherND: Walk = (node) => {
  if (intAttribute(node, 'batch_dims', 0) !== 0) throw new RangeError('attribute batch_dims: only 0 can be walked');
  const dims = staticShape(inputOf(node, 0));
  const indices = tensorAt(node, 1);
  const depth = indices.shape.at(-1) as number;
  const strides = stridesOf(dims.slice(0, depth));
  const parts = tf
    .unstack(indices, -1)
    .map((part, axis) => tf.mul(fromStart(part, dims[axis] as number), int32(strides[axis] as number)));
  const rows = tf.reshape(tensorAt(node, 0), [elementCount(dims.slice(0, depth)), -1]);
  const chosen = parts.reduce((a, b) => tf.add(a, b));
  return tf.reshape(tf.gather(rows, flat(chosen)), [...staticShape(outputOf(node))]);
};

/** Through sums of segments, the only way of writing to chosen places that tfjs differentiates. */
const scatterElements: Walk = (node) => {
  const reduction = stringAttribute(node, 'reduction', 'none');
  if (reduction !== 'add' && reduction !== 'none') {
    throw new RangeError(`attribute reduction: only add and none can be walked, got ${reduction}`);
  }
  const data = tensorAt(node, 0);
  const where = places(node);
  const sums = (updates: tf.Tensor): tf.Tensor =>
    tf.reshape(tf.unsortedSegmentSum(flat(updates), where, data.size), data.shape);
  const updates = tensorAt(node, 2);
  if (reduction === 'add') return tf.add(data, sums(updates));
  return tf.add(tf.mul(data, tf.sub(1, sums(tf.onesLike(updates)))), sums(updates));
};

const slice: Walk = (node) =>
  cutsOf(node).reduce(
    (x, cut) => {
      const { first, count } = clampCut(cut, x.shape[cut.axis] as number);
      if (cut.step === 1) {
        const begin = x.shape.map((_, axis) => (axis === cut.axis ? first : 0));
        return tf.slice(x, begin, x.shape.with(cut.axis, count));
      }
      const positions = Int32Array.from({ length: count }, (_, i) => first + i * cut.step);
      return tf.gather(x, tf.tensor1d(positions, 'int32'), cut.axis);
    },
    tensorAt(node, 0),
  );

const split: Walk = (node) => {
  const axis = axisOf(node);
  const sizes = node.outputs.map((output) => staticShape(output)[axis] as number);
  return tf.split(tensorAt(node, 0), sizes, axis);
};

const pad: Walk = (node) => {
  const x = tensorAt(node, 0);
  const pads = constantInts(node, 1);
  const around = x.shape.map((_, i): [number, number] => [pads[i] as number, pads[i + x.rank] as number]);
  return tf.pad(x, around, optionalScalar(node, 2) ?? 0);
};

export const INDEXING_WALKS: Walks = {
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherND,
  ScatterElements: scatterElements,
  Concat: (node) => tf.concat(tensorsOf(node), axisOf(node)),
  Slice: slice,
  Split: split,
  Pad: pad,
};
