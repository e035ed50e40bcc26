import { cast, ints, reduceSum, reshape, scalarLike, slice, staticShape, sumTo, zerosOf } from './emit.ts';
import type { Graph, GraphNode, Value } from './graph.ts';
import { constantInts, inputOf, intAttribute, intsAttribute } from './operators.ts';
import { normalizeAxis } from './shape.ts';
import { elementCount } from './tensor.ts';

/** Emits the gradient for one input; null where the operator has none for it (indices, axes, conditions). */
export type InputGradient = (() => Value) | null;

/** The gradients of a node's inputs, given `upstream`: the gradient of the loss for the node's output. */
export type GradientRule = (graph: Graph, node: GraphNode, upstream: Value) => readonly InputGradient[];

/** Of a node whose operator has one output, or whose further ones carry no gradient. */
const firstOutput = (node: GraphNode): Value => node.outputs[0] as Value;

const axesOf = (graph: Graph, node: GraphNode, index: number): number[] =>
  constantInts({ ...node, constantOf: (value) => graph.constantOf(value) }, index);
const lastAxis = (node: GraphNode): number =>
  normalizeAxis(Number(node.attributes.axis ?? -1), firstOutput(node).shape.length);

/** A rule for y = f(x) from its derivative, which may be written in x and y. */
const unary =
  (derivative: (graph: Graph, x: Value, y: Value, upstream: Value) => Value): GradientRule =>
  (graph, node, upstream) => [() => derivative(graph, inputOf(node, 0), firstOutput(node), upstream)];

const add: GradientRule = (graph, node, upstream) => [
  () => sumTo(graph, upstream, inputOf(node, 0).shape),
  () => sumTo(graph, upstream, inputOf(node, 1).shape),
];

const sub: GradientRule = (graph, node, upstream) => [
  () => sumTo(graph, upstream, inputOf(node, 0).shape),
  () => graph.node('Neg', [sumTo(graph, upstream, inputOf(node, 1).shape)]),
];

const mul: GradientRule = (graph, node, upstream) => {
  const [a, b] = [inputOf(node, 0), inputOf(node, 1)];
  return [
    () => sumTo(graph, graph.node('Mul', [upstream, b]), a.shape),
    () => sumTo(graph, graph.node('Mul', [upstream, a]), b.shape),
  ];
};

/** d(a/b)/db = −(a/b)/b */
const div: GradientRule = (graph, node, upstream) => {
  const [a, b] = [inputOf(node, 0), inputOf(node, 1)];
  return [
    () => sumTo(graph, graph.node('Div', [upstream, b]), a.shape),
    () => {
      const ratio = graph.node('Div', [graph.node('Mul', [upstream, firstOutput(node)]), b]);
      return graph.node('Neg', [sumTo(graph, ratio, b.shape)]);
    },
  ];
};

/** y·(u − Σ u·y) */
const softmax: GradientRule = (graph, node, upstream) => [
  () => {
    const sum = reduceSum(graph, graph.node('Mul', [upstream, firstOutput(node)]), [lastAxis(node)], 1);
    return graph.node('Mul', [firstOutput(node), graph.node('Sub', [upstream, sum])]);
  },
];

/** u − softmax(x)·Σ u */
const logSoftmax: GradientRule = (graph, node, upstream) => [
  () => {
    const sum = reduceSum(graph, upstream, [lastAxis(node)], 1);
    const probabilities = graph.node('Exp', [firstOutput(node)]);
    return graph.node('Sub', [upstream, graph.node('Mul', [probabilities, sum])]);
  },
];

const swapLast = (graph: Graph, value: Value): Value => {
  const axes = value.shape.map((_, axis) => axis);
  const perm = [...axes.slice(0, -2), axes.length - 1, axes.length - 2];
  return graph.node('Transpose', [value], { perm });
};

const asMatrix = (graph: Graph, value: Value): Value =>
  value.shape.length === 2 ? value : reshape(graph, value, [-1, staticShape(value).at(-1) as number]);

/** dA = u·Bᵀ, dB = Aᵀ·u. A shared right-hand matrix takes the batches as further rows of one product. */
const matMul: GradientRule = (graph, node, upstream) => {
  const [a, b] = [inputOf(node, 0), inputOf(node, 1)];
  return [
    () => sumTo(graph, graph.node('MatMul', [upstream, swapLast(graph, b)]), a.shape),
    () =>
      b.shape.length === 2
        ? graph.node('Gemm', [asMatrix(graph, a), asMatrix(graph, upstream)], { transA: 1 })
        : sumTo(graph, graph.node('MatMul', [swapLast(graph, a), upstream]), b.shape),
  ];
};

/** Y = A'·B' + C, where ' is an optional transposition. */
const gemm: GradientRule = (graph, node, upstream) => {
  const [a, b] = [inputOf(node, 0), inputOf(node, 1)];
  const transA = intAttribute(node, 'transA', 0);
  const transB = intAttribute(node, 'transB', 0);
  return [
    () =>
      transA
        ? graph.node('Gemm', [b, upstream], { transA: transB, transB: 1 })
        : graph.node('Gemm', [upstream, b], { transB: 1 - transB }),
    () =>
      transB
        ? graph.node('Gemm', [upstream, a], { transA: 1, transB: transA })
        : graph.node('Gemm', [a, upstream], { transA: 1 - transA }),
    () => sumTo(graph, upstream, inputOf(node, 2).shape),
  ];
};

/** Repeats the reduced gradient along the axes that were summed, scaled by `factor` of the elements a sum took. */
const reduction =
  (factor: (reduced: number) => number): GradientRule =>
  (graph, node, upstream) => [
    () => {
      const shape = staticShape(inputOf(node, 0));
      const axes = axesOf(graph, node, 1).map((axis) => normalizeAxis(axis, shape.length));
      const kept = shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim));
      const scale = factor(elementCount(axes.map((axis) => shape[axis] as number)));
      const scaled = scale === 1 ? upstream : graph.node('Mul', [upstream, scalarLike(graph, upstream, scale)]);
      return graph.node('Expand', [reshape(graph, scaled, kept), ints(graph, shape)]);
    },
    null,
  ];

/**
 * The gradient of an embedding: rows used more than once add up. ScatterElements(add), not ScatterND(add), which is a
 * data race on onnxruntime's CPU provider with several threads.
 */
const gather: GradientRule = (graph, node, upstream) => [
  () => {
    const [data, indices] = [inputOf(node, 0), inputOf(node, 1)];
    const shape = staticShape(data);
    const axis = normalizeAxis(intAttribute(node, 'axis', 0), shape.length);
    const count = elementCount(staticShape(indices));
    const column = shape.map((_, index) => (index === axis ? count : 1));
    const spread = graph.node('Expand', [reshape(graph, indices, column), ints(graph, shape.with(axis, count))]);
    const updates = reshape(graph, upstream, shape.with(axis, count));
    const target = zerosOf(graph, data.type, shape);
    return graph.node('ScatterElements', [target, spread, updates], { axis, reduction: 'add' });
  },
  null,
];

const concat: GradientRule = (graph, node, upstream) => {
  const axis = normalizeAxis(intAttribute(node, 'axis', 0), firstOutput(node).shape.length);
  let end = 0;
  return node.inputs.map((_, index) => {
    const start = end;
    end += staticShape(inputOf(node, index))[axis] as number;
    const stop = end;
    return () => slice(graph, upstream, axis, start, stop);
  });
};

const sliceRule: GradientRule = (graph, node, upstream) => [
  () => {
    const shape = staticShape(inputOf(node, 0));
    const [starts, , axes] = [1, 2, 3].map((index) => axesOf(graph, node, index)) as [number[], number[], number[]];
    const before = shape.map(() => 0);
    for (const [index, given] of axes.entries()) {
      const axis = normalizeAxis(given, shape.length);
      const [dim, start] = [shape[axis] as number, starts[index] as number];
      before[axis] = Math.min(Math.max(start < 0 ? start + dim : start, 0), dim);
    }
    const kept = staticShape(firstOutput(node));
    const after = shape.map((dim, axis) => dim - (before[axis] as number) - (kept[axis] as number));
    return graph.node('Pad', [upstream, ints(graph, [...before, ...after])]);
  },
  null,
  null,
  null,
  null,
];

const transpose: GradientRule = (graph, node, upstream) => [
  () => {
    const permutation = intsAttribute(node, 'perm');
    return graph.node('Transpose', [upstream], { perm: permutation.map((_, axis) => permutation.indexOf(axis)) });
  },
];

const sameElements: GradientRule = (graph, node, upstream) => [
  () => reshape(graph, upstream, staticShape(inputOf(node, 0))),
  null,
];

const where: GradientRule = (graph, node, upstream) => {
  const [condition, yes, no] = [inputOf(node, 0), inputOf(node, 1), inputOf(node, 2)];
  const zero = () => scalarLike(graph, upstream, 0);
  return [
    null,
    () => sumTo(graph, graph.node('Where', [condition, upstream, zero()]), yes.shape),
    () => sumTo(graph, graph.node('Where', [condition, zero(), upstream]), no.shape),
  ];
};

/**
 * The gradients of a node's inputs from those of all of its outputs, some of which the loss may not depend on.
 */
export type GradientRuleOfSeveral = (
  graph: Graph,
  node: GraphNode,
  upstream: readonly (Value | undefined)[],
) => readonly InputGradient[];

const split: GradientRuleOfSeveral = (graph, node, upstream) => {
  const axis = normalizeAxis(intAttribute(node, 'axis', 0), firstOutput(node).shape.length);
  const parts = node.outputs.map((output, i) => upstream[i] ?? zerosOf(graph, output.type, staticShape(output)));
  return [() => graph.node('Concat', parts, { axis }), null];
};

/** Rules of operators with several differentiable outputs. */
export const GRADIENT_RULES_OF_SEVERAL: Readonly<Record<string, GradientRuleOfSeveral>> = { Split: split };

/** Gradient rules by operator. Every one is checked against central differences in gradients.test.ts. */
export const GRADIENT_RULES: Readonly<Record<string, GradientRule>> = {
  Add: add,
  Sub: sub,
  Mul: mul,
  Div: div,
  Neg: unary((graph, _x, _y, upstream) => graph.node('Neg', [upstream])),
  Identity: unary((_graph, _x, _y, upstream) => upstream),
  Exp: unary((graph, _x, y, upstream) => graph.node('Mul', [upstream, y])),
  Log: unary((graph, x, _y, upstream) => graph.node('Div', [upstream, x])),
  Sqrt: unary((graph, _x, y, upstream) =>
    graph.node('Div', [upstream, graph.node('Mul', [y, scalarLike(graph, y, 2)])]),
  ),
  Relu: unary((graph, x, _y, upstream) =>
    graph.node('Where', [
      graph.node('Greater', [x, scalarLike(graph, x, 0)]),
      upstream,
      scalarLike(graph, upstream, 0),
    ]),
  ),
  Tanh: unary((graph, _x, y, upstream) =>
    graph.node('Mul', [upstream, graph.node('Sub', [scalarLike(graph, y, 1), graph.node('Mul', [y, y])])]),
  ),
  Sigmoid: unary((graph, _x, y, upstream) =>
    graph.node('Mul', [upstream, graph.node('Mul', [y, graph.node('Sub', [scalarLike(graph, y, 1), y])])]),
  ),
  Cast: unary((graph, x, _y, upstream) => cast(graph, upstream, x.type)),
  Softmax: softmax,
  LogSoftmax: logSoftmax,
  MatMul: matMul,
  Gemm: gemm,
  ReduceSum: reduction(() => 1),
  ReduceMean: reduction((count) => 1 / count),
  Gather: gather,
  Concat: concat,
  Slice: sliceRule,
  Transpose: transpose,
  Reshape: sameElements,
  Unsqueeze: sameElements,
  Expand: (graph, node, upstream) => [() => sumTo(graph, upstream, inputOf(node, 0).shape), null],
  Where: where,
};
