import * as tf from '@tensorflow/tfjs-core';
import { reducedAxes } from '../../operators/along-axes.ts';
import { constantInts, inputOf, intAttribute } from '../../operators/context.ts';
import { normalizeAxis } from '../../shape.ts';
import { floatAttribute, tensorAt, type Walk, type WalkedNode, type Walks, withoutGradient } from './context.ts';

const axisOf = (node: WalkedNode, fallback: number): number =>
  normalizeAxis(intAttribute(node, 'axis', fallback), inputOf(node, 0).shape.length);

/** For functions that tfjs has along the last axis only. */
const alongLast =
  (compute: (x: tf.Tensor) => tf.Tensor): Walk =>
  (node) => {
    const x = tensorAt(node, 0);
    const [axis, last] = [axisOf(node, -1), x.rank - 1];
    if (axis === last) return compute(x);
    const swapped = x.shape.map((_, i) => (i === axis ? last : i === last ? axis : i));
    return tf.transpose(compute(tf.transpose(x, swapped)), swapped);
  };

/** Of a row of nothing but −∞, such as a text that is all padding, the result is NaN, and no gradient goes back. */
function softmax(x: tf.Tensor): tf.Tensor {
  const empty = withoutGradient(x, (given) => tf.equal(tf.max(given, -1, true), -Infinity));
  return tf.where(empty, Number.NaN, tf.softmax(tf.where(empty, 0, x)));
}

const reduce =
  (compute: (x: tf.Tensor, axes: number[], keepDims: boolean) => tf.Tensor): Walk =>
  (node) =>
    compute(tensorAt(node, 0), reducedAxes(node), intAttribute(node, 'keepdims', 1) === 1);

const argMax: Walk = (node) => {
  const axis = axisOf(node, 0);
  const places = tf.argMax(tensorAt(node, 0), axis);
  return intAttribute(node, 'keepdims', 1) === 1 ? tf.expandDims(places, axis) : places;
};

const cumSum: Walk = (node) => {
  const [exclusive, reverse] = ['exclusive', 'reverse'].map((name) => intAttribute(node, name, 0) === 1);
  return tf.cumsum(tensorAt(node, 0), constantInts(node, 1)[0], exclusive, reverse);
};

const layerNormalization: Walk = (node) => {
  const x = tensorAt(node, 0);
  const first = axisOf(node, -1);
  const axes = Array.from({ length: x.rank - first }, (_, i) => first + i);
  const { mean, variance } = tf.moments(x, axes, true);
  const deviation = tf.sqrt(tf.add(variance, floatAttribute(node, 'epsilon', 1e-5)));
  const scaled = tf.mul(tf.div(tf.sub(x, mean), deviation), tensorAt(node, 1));
  const bias = node.tensor(2);
  return [bias ? tf.add(scaled, bias) : scaled, mean, tf.reciprocal(deviation)];
};

export const ALONG_AXES_WALKS: Walks = {
  Softmax: alongLast(softmax),
  LogSoftmax: alongLast((x) => tf.logSoftmax(x)),
  CumSum: cumSum,
  ReduceSum: reduce(tf.sum),
  ReduceMean: reduce(tf.mean),
  ReduceMax: reduce(tf.max),
  ReduceMin: reduce(tf.min),
  ReduceProd: reduce(tf.prod),
  ReduceL2: reduce((x, axes, keepDims) => tf.sqrt(tf.sum(tf.square(x), axes, keepDims))),
  ArgMax: argMax,
  LayerNormalization: layerNormalization,
};
