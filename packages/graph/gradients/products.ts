import { ints, reduceSum, reshape, scalarLike, staticShape, sumTo, zerosOf } from '../emit.ts';
import { NoGradientError } from '../errors.ts';
import type { Graph, GraphNode, Value } from '../graph.ts';
import { inputOf, intAttribute } from '../operators/context.ts';
import { type Window, windowsOf } from '../operators/products.ts';
import { elementCount } from '../tensor.ts';
import type { GradientRule, GradientRules } from './rule.ts';

const swapLast = (graph: Graph, value: Value): Value => {
  const axes = value.shape.map((_, axis) => axis);
  const perm = [...axes.slice(0, -2), axes.length - 1, axes.length - 2];
  return graph.node('Transpose', [value], { perm });
};

const asMatrix = (graph: Graph, value: Value): Value =>
  value.shape.length === 2 ? value : reshape(graph, value, [-1, staticShape(value).at(-1) as number]);

const inShape = (graph: Graph, value: Value, shape: readonly number[]): Value =>
  value.shape.join() === shape.join() ? value : reshape(graph, value, shape);

/** dA = u·Bᵀ, dB = Aᵀ·u. A shared right-hand matrix takes the batches as further rows of one product. */
const matMul: GradientRule = (graph, node, upstream) => {
  const [a, b] = [inputOf(node, 0), inputOf(node, 1)];
  const shared = b.shape.length === 2;
  return [
    () =>
      shared
        ? inShape(graph, graph.node('Gemm', [asMatrix(graph, upstream), b], { transB: 1 }), staticShape(a))
        : sumTo(graph, graph.node('MatMul', [upstream, swapLast(graph, b)]), a.shape),
    () =>
      shared
        ? graph.node('Gemm', [asMatrix(graph, a), asMatrix(graph, upstream)], { transA: 1 })
        : sumTo(graph, graph.node('MatMul', [swapLast(graph, a), upstream]), b.shape),
  ];
};

const floatAttribute = (node: GraphNode, name: string): number => {
  const value = node.attributes[name];
  return typeof value === 'object' && 'float' in value ? value.float : 1;
};

/** Y = α·A'·B' + β·C, where ' is an optional transposition. */
const gemm: GradientRule = (graph, node, upstream) => {
  const [a, b] = [inputOf(node, 0), inputOf(node, 1)];
  const transA = intAttribute(node, 'transA', 0);
  const transB = intAttribute(node, 'transB', 0);
  const alpha = { float: floatAttribute(node, 'alpha') };
  const beta = floatAttribute(node, 'beta');
  const product = (left: Value, right: Value, flags: { transA?: number; transB?: number }): Value =>
    graph.node('Gemm', [left, right], alpha.float === 1 ? flags : { ...flags, alpha });
  return [
    () => (transA ? product(b, upstream, { transA: transB, transB: 1 }) : product(upstream, b, { transB: 1 - transB })),
    () => (transB ? product(upstream, a, { transA: 1, transB: transA }) : product(a, upstream, { transA: 1 - transA })),
    () => {
      const summed = sumTo(graph, upstream, inputOf(node, 2).shape);
      return beta === 1 ? summed : graph.node('Mul', [summed, scalarLike(graph, summed, beta)]);
    },
  ];
};

/** The windows of x [batch, channels, length] that a convolution saw, as rows [batch·windows, kernel·channels]. */
function unrolled(graph: Graph, x: Value, window: Window, windows: number): Value {
  const { kernel, stride, dilation, before, after } = window;
  const last = graph.node('Transpose', [x], { perm: [0, 2, 1] });
  const padded = before + after === 0 ? last : graph.node('Pad', [last, ints(graph, [0, before, 0, 0, after, 0])]);
  const taps = Array.from({ length: kernel }, (_, tap) => {
    const start = tap * dilation;
    const end = start + stride * (windows - 1) + 1;
    const [from, to, axis, step] = [start, end, 1, stride].map((value) => ints(graph, [value]));
    return graph.node('Slice', [padded, from, to, axis, step]);
  });
  return asMatrix(graph, graph.node('Concat', taps, { axis: 2 }));
}

/**
 * One spatial axis, one group. dX is the transposed convolution of u; dW is one product of u with the unrolled windows:
 * onnxruntime has no convolution whose filters are as long as the data.
 */
const conv: GradientRule = (graph, node, upstream) => {
  const [x, weights] = [staticShape(inputOf(node, 0)), staticShape(inputOf(node, 1))];
  if (weights.length !== 3 || intAttribute(node, 'group', 1) !== 1) {
    throw new NoGradientError('Conv (of several spatial axes or groups)', node.name, graph.name);
  }
  const [filters, channels, kernel] = weights as [number, number, number];
  const [window] = windowsOf(node, [kernel]) as [Window];
  const { stride, dilation, before, after } = window;
  const windows = staticShape(upstream)[2] as number;
  const covered = stride * (windows - 1) + dilation * (kernel - 1) + 1 - before - after;
  return [
    () =>
      graph.node('ConvTranspose', [upstream, inputOf(node, 1)], {
        strides: [stride],
        dilations: [dilation],
        pads: [before, after],
        output_padding: [(x[2] as number) - covered],
      }),
    () => {
      const rows = asMatrix(graph, graph.node('Transpose', [upstream], { perm: [0, 2, 1] }));
      const product = graph.node('Gemm', [rows, unrolled(graph, inputOf(node, 0), window, windows)], { transA: 1 });
      return graph.node('Transpose', [reshape(graph, product, [filters, kernel, channels])], { perm: [0, 2, 1] });
    },
    () => reduceSum(graph, upstream, [0, 2], 0),
  ];
};

/** Every maximum's gradient goes to where it lay; windows that overlap add up. */
const maxPool: GradientRule = (graph, node, upstream) => [
  () => {
    const shape = staticShape(inputOf(node, 0));
    const [, places] = graph.outputsOf(node, 2) as [Value, Value];
    const target = zerosOf(graph, upstream.type, [elementCount(shape)]);
    const flat = (value: Value): Value => reshape(graph, value, [-1]);
    const scattered = graph.node('ScatterElements', [target, flat(places), flat(upstream)], {
      axis: 0,
      reduction: 'add',
    });
    return reshape(graph, scattered, shape);
  },
];

export const PRODUCT_GRADIENTS: GradientRules = { MatMul: matMul, Gemm: gemm, Conv: conv, MaxPool: maxPool };
