import * as tf from '@tensorflow/tfjs-core';
import { staticShape } from '../../emit.ts';
import { inputOf, intAttribute } from '../../operators/context.ts';
import { elementTypeOf } from '../../tensor.ts';
import {
  binary,
  optionalScalar,
  outputOf,
  tensorAt,
  tensorsOf,
  tfjsType,
  unary,
  type Walk,
  type Walks,
} from './context.ts';

/** A comparison, from which no gradient goes back. tfjs looks for one even through the condition of a Where. */
const comparison = (compute: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor): Walk =>
  binary(
    tf.customGrad((...inputs) => {
      const [a, b] = inputs as [tf.Tensor, tf.Tensor];
      return { value: compute(a, b), gradFunc: () => [tf.zerosLike(a), tf.zerosLike(b)] };
    }),
  );

/** The gradients of tfjs's extremes do not undo broadcasting, so it is done before. */
const extreme =
  (compute: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor): Walk =>
  (node) => {
    const dims = [...staticShape(outputOf(node))];
    return tensorsOf(node)
      .map((x) => tf.broadcastTo(x, dims))
      .reduce((a, b) => compute(a, b));
  };

/** tfjs divides integers rounding down, ONNX towards zero: the two differ for negative ones. */
const div: Walk = (node) => {
  if (tfjsType(inputOf(node, 0).type) !== 'float32') throw new TypeError('only floats can be divided');
  return tf.div(tensorAt(node, 0), tensorAt(node, 1));
};

const pow: Walk = (node) => {
  const base = tensorAt(node, 0);
  return tf.pow(base, tf.cast(tensorAt(node, 1), base.dtype));
};

/** x·Φ(x), or its tanh approximation. */
const gelu: Walk = (node) => {
  const x = tensorAt(node, 0);
  const inner =
    node.attributes.approximate === 'tanh'
      ? tf.tanh(tf.mul(tf.add(x, tf.mul(0.044715, tf.mul(x, tf.mul(x, x)))), Math.sqrt(2 / Math.PI)))
      : tf.erf(tf.mul(x, Math.SQRT1_2));
  return tf.mul(tf.mul(x, 0.5), tf.add(inner, 1));
};

const clip: Walk = (node) =>
  tf.clipByValue(tensorAt(node, 0), optionalScalar(node, 1) ?? -Infinity, optionalScalar(node, 2) ?? Infinity);

const cast: Walk = (node) => {
  const type = elementTypeOf(intAttribute(node, 'to', 0));
  if (!type) throw new TypeError(`attribute to: ${node.attributes.to} is no supported element type`);
  return tf.cast(tensorAt(node, 0), tfjsType(type));
};

export const ELEMENTWISE_WALKS: Walks = {
  Add: binary(tf.add),
  Sub: binary(tf.sub),
  Mul: binary(tf.mul),
  Div: div,
  Mod: binary(tf.mod),
  Pow: pow,
  Max: extreme(tf.maximum),
  Min: extreme(tf.minimum),
  And: binary(tf.logicalAnd),
  Or: binary(tf.logicalOr),
  Xor: binary(tf.logicalXor),
  Not: unary(tf.logicalNot),
  Less: comparison(tf.less),
  LessOrEqual: comparison(tf.lessEqual),
  Greater: comparison(tf.greater),
  GreaterOrEqual: comparison(tf.greaterEqual),
  Equal: comparison(tf.equal),
  IsNaN: unary(tf.isNaN),
  Neg: unary(tf.neg),
  Abs: unary(tf.abs),
  Sign: unary(tf.sign),
  Floor: unary(tf.floor),
  Ceil: unary(tf.ceil),
  Round: unary(tf.round),
  Sqrt: unary(tf.sqrt),
  Reciprocal: unary(tf.reciprocal),
  Exp: unary(tf.exp),
  Log: unary(tf.log),
  Sin: unary(tf.sin),
  Cos: unary(tf.cos),
  Erf: unary(tf.erf),
  Gelu: gelu,
  Softplus: unary(tf.softplus),
  Relu: unary(tf.relu),
  Tanh: unary(tf.tanh),
  Sigmoid: unary(tf.sigmoid),
  Identity: unary(tf.clone),
  Clip: clip,
  Where: (node) => tf.where(tensorAt(node, 0), tensorAt(node, 1), tensorAt(node, 2)),
  Cast: cast,
};
