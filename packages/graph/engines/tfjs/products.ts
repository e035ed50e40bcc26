import * as tf from '@tensorflow/tfjs-core';
import { staticShape } from '../../emit.ts';
import { inputOf, intAttribute, intsAttribute } from '../../operators/context.ts';
import { type Window, windowsOf } from '../../operators/products.ts';
import { floatAttribute, outputOf, tensorAt, type Walk, type WalkedNode, type Walks } from './context.ts';

/** The product of stacks of matrices. tfjs has no gradient for a stack that is repeated, so both are made as high. */
const matMul: Walk = (node) => {
  const [a, b] = [tensorAt(node, 0), tensorAt(node, 1)];
  const dims = [...staticShape(outputOf(node))];
  if (b.rank === 2) return tf.reshape(tf.matMul(tf.reshape(a, [-1, a.shape.at(-1) as number]), b), dims);
  const stacked = (x: tf.Tensor): tf.Tensor => tf.broadcastTo(x, [...dims.slice(0, -2), ...x.shape.slice(-2)]);
  return tf.matMul(stacked(a), stacked(b));
};

const gemm: Walk = (node) => {
  const [transA, transB] = ['transA', 'transB'].map((name) => intAttribute(node, name, 0) === 1);
  const scaled = (x: tf.Tensor, by: number): tf.Tensor => (by === 1 ? x : tf.mul(x, by));
  const product = tf.matMul(tensorAt(node, 0), tensorAt(node, 1), transA, transB);
  const bias = node.tensor(2);
  const scaledProduct = scaled(product, floatAttribute(node, 'alpha', 1));
  return bias ? tf.add(scaledProduct, scaled(bias, floatAttribute(node, 'beta', 1))) : scaledProduct;
};

/** The one window of a node over texts. @throws RangeError for pictures, which no student has. */
function windowOf(node: WalkedNode, kernels: readonly number[]): Window {
  const [window, ...more] = windowsOf(node, kernels);
  if (window && more.length === 0) return window;
  throw new RangeError(`only windows over [batch, channels, length] can be walked, got [${inputOf(node, 0).shape}]`);
}

/**
 * The places of x [batch, channels, length] that each window takes: a tensor [batch, channels, windows] for every place of
 * the kernel. Padding is as many places of `outside`.
 */
function unfold(node: WalkedNode, { kernel, stride, dilation, before, after }: Window, outside: number): tf.Tensor3D[] {
  const [batch, channels] = staticShape(inputOf(node, 0)) as readonly [number, number, number];
  const windows = staticShape(outputOf(node))[2] as number;
  const around: [number, number][] = [
    [0, 0],
    [0, 0],
    [before, after],
  ];
  const padded = tf.pad(tensorAt(node, 0), around, outside) as tf.Tensor3D;
  return Array.from({ length: kernel }, (_, place) => {
    const start = place * dilation;
    if (stride === 1) return tf.slice(padded, [0, 0, start], [batch, channels, windows]);
    const positions = Int32Array.from({ length: windows }, (_, window) => window * stride + start);
    return tf.gather(padded, tf.tensor1d(positions, 'int32'), 2);
  });
}

/** W · the windows of X, one product for all: [filters, kernel·channels] · [kernel·channels, batch·windows], plus the bias. */
const conv: Walk = (node) => {
  if (intAttribute(node, 'group', 1) !== 1) throw new RangeError('only convolutions of one group can be walked');
  const [filters, channels, ...kernels] = staticShape(inputOf(node, 1)) as readonly [number, number, ...number[]];
  const window = windowOf(node, kernels);
  const [batch, , windows] = staticShape(outputOf(node)) as readonly [number, number, number];
  const columns = tf.transpose(tf.concat(unfold(node, window, 0), 1), [1, 0, 2]);
  const rows = tf.reshape(tf.transpose(tensorAt(node, 1), [0, 2, 1]), [filters, window.kernel * channels]);
  const product = tf.matMul(rows, tf.reshape(columns, [window.kernel * channels, batch * windows]));
  const convolved = tf.transpose(tf.reshape(product, [filters, batch, windows]), [1, 0, 2]);
  const bias = node.tensor(2);
  return bias ? tf.add(convolved, tf.reshape(bias, [1, filters, 1])) : convolved;
};

/** The largest of each window; padding is never it. */
const maxPool: Walk = (node) => {
  if (node.outputs.length > 1) throw new RangeError('the places of the largest values cannot be walked');
  const places = unfold(node, windowOf(node, intsAttribute(node, 'kernel_shape')), -Infinity);
  return tf.max(tf.stack(places, 3), 3);
};

export const PRODUCT_WALKS: Walks = { MatMul: matMul, Gemm: gemm, Conv: conv, MaxPool: maxPool };
