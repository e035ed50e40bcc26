import * as tf from '@tensorflow/tfjs-core';
import { staticShape } from '../../emit.ts';
import { constantInts, intAttribute, intsAttribute } from '../../operators/context.ts';
import { elementCount } from '../../tensor.ts';
import { optionalScalar, outputOf, tensorAt, tfjsType, toTfjs, type Walk, type Walks } from './context.ts';

/** For operators that only give the same elements another shape. */
const reshaped: Walk = (node) => tf.reshape(tensorAt(node, 0), [...staticShape(outputOf(node))]);

const transpose: Walk = (node) => {
  const x = tensorAt(node, 0);
  return tf.transpose(x, [...intsAttribute(node, 'perm', x.shape.map((_, axis) => axis).toReversed())]);
};

/** The upper or lower triangle of each matrix, from its k-th diagonal; the rest is zero. */
const trilu: Walk = (node) => {
  const x = tensorAt(node, 0);
  const [rows, columns] = x.shape.slice(-2) as [number, number];
  const upper = intAttribute(node, 'upper', 1) === 1;
  const diagonal = optionalScalar(node, 1) ?? 0;
  const kept = Array.from({ length: rows * columns }, (_, i) => {
    const distance = (i % columns) - Math.floor(i / columns) - diagonal;
    return Number(upper ? distance >= 0 : distance <= 0);
  });
  return tf.mul(x, tf.tensor2d(kept, [rows, columns], x.dtype as 'float32'));
};

/** Whatever of a shape is known, which in training is all of it. */
const known: Walk = (node) => {
  const output = outputOf(node);
  const elements = node.elementsOf(output);
  if (!elements?.every((element) => typeof element === 'number')) throw new RangeError('needs static dimensions');
  return tf.tensor([...elements], [...staticShape(output)], tfjsType(output.type));
};

const constantOfShape: Walk = (node) => {
  const dims = [...staticShape(outputOf(node))];
  const { value } = node.attributes;
  const filled = typeof value === 'object' && 'tensor' in value ? toTfjs(value.tensor) : tf.scalar(0);
  return tf.broadcastTo(tf.reshape(filled, []), dims);
};

const range: Walk = (node) => {
  const start = tensorAt(node, 0);
  const count = elementCount(staticShape(outputOf(node)));
  const numbers = tf.range(0, count, 1, start.dtype as 'float32');
  return tf.add(tf.mul(numbers, tensorAt(node, 2)), start);
};

export const LAYOUT_WALKS: Walks = {
  Reshape: reshaped,
  Flatten: reshaped,
  Squeeze: reshaped,
  Unsqueeze: reshaped,
  Transpose: transpose,
  Expand: (node) => tf.broadcastTo(tensorAt(node, 0), [...staticShape(outputOf(node))]),
  Tile: (node) => tf.tile(tensorAt(node, 0), constantInts(node, 1)),
  Trilu: trilu,
  Shape: known,
  ConstantOfShape: constantOfShape,
  Range: range,
};
