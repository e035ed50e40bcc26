import { ints, reduceSum, staticShape } from './emit.ts';
import type { Attributes, Graph, Value } from './graph.ts';
import { elementCount, type TensorValue, tensor, vectorOf } from './tensor.ts';

/** Values in (-1, 1) without any near zero, where Relu, Sqrt and Div have corners. */
export const wave = (dims: readonly number[], phase: number): TensorValue => {
  const values = Array.from({ length: elementCount(dims) }, (_, i) => Math.sin(1.7 * i + phase));
  return tensor(
    'float64',
    dims,
    Float64Array.from(values, (v) => v + Math.sign(v) * 0.1),
  );
};
const positive = (dims: readonly number[], phase: number): TensorValue => {
  const { data } = wave(dims, phase);
  return tensor(
    'float64',
    dims,
    Float64Array.from(data as Float64Array, (v) => Math.abs(v) + 0.2),
  );
};

/** One use of an operator whose float64 inputs are all differentiated. */
export type GradientCase = {
  readonly operator: string;
  readonly variant?: string;
  readonly inputs: readonly TensorValue[];
  readonly build: (graph: Graph, inputs: readonly Value[]) => Value;
};

/** A case for an operator that takes all of its inputs as they are. */
const plain = (operator: string, inputs: readonly TensorValue[], attributes: Attributes = {}): GradientCase => ({
  operator,
  variant: JSON.stringify({ dims: inputs.map(({ dims }) => dims), ...attributes }),
  inputs,
  build: (graph, values) => graph.node(operator, values, attributes),
});

/** The cases of every gradient rule, which are checked against central differences and against tfjs. */
export const GRADIENT_CASES: readonly GradientCase[] = [
  plain('Add', [wave([2, 3], 1), wave([2, 3], 2)]),
  plain('Add', [wave([2, 3], 1), wave([3], 2)]),
  plain('Sub', [wave([2, 1], 1), wave([2, 3], 2)]),
  plain('Mul', [wave([2, 3], 1), wave([], 2)]),
  plain('Mul', [wave([4, 1, 3], 1), wave([2, 1], 2)]),
  plain('Div', [wave([2, 3], 1), positive([1, 3], 2)]),
  plain('Neg', [wave([3], 1)]),
  plain('Identity', [wave([3], 1)]),
  plain('Exp', [wave([3], 1)]),
  plain('Log', [positive([3], 1)]),
  plain('Sqrt', [positive([3], 1)]),
  plain('Relu', [wave([7], 1)]),
  plain('Tanh', [wave([3], 1)]),
  plain('Sigmoid', [wave([3], 1)]),
  plain('Cast', [wave([3], 1)], { to: 11 }),
  plain('Softmax', [wave([2, 4], 1)], { axis: -1 }),
  plain('Softmax', [wave([2, 4], 1)], { axis: 0 }),
  plain('LogSoftmax', [wave([2, 4], 1)], { axis: -1 }),
  plain('MatMul', [wave([2, 3], 1), wave([3, 4], 2)]),
  plain('MatMul', [wave([5, 2, 3], 1), wave([3, 4], 2)]),
  plain('MatMul', [wave([5, 2, 3], 1), wave([5, 3, 4], 2)]),
  plain('MatMul', [wave([2, 1, 2, 3], 1), wave([5, 3, 4], 2)]),
  plain('Gemm', [wave([2, 3], 1), wave([3, 4], 2)]),
  plain('Gemm', [wave([2, 3], 1), wave([3, 4], 2), wave([4], 3)]),
  plain('Gemm', [wave([3, 2], 1), wave([3, 4], 2), wave([2, 4], 3)], { transA: 1 }),
  plain('Gemm', [wave([2, 3], 1), wave([4, 3], 2), wave([1, 4], 3)], { transB: 1 }),
  plain('Gemm', [wave([3, 2], 1), wave([4, 3], 2), wave([1], 3)], { transA: 1, transB: 1 }),
  plain('Transpose', [wave([2, 3, 4], 1)], { perm: [2, 0, 1] }),
  plain('Concat', [wave([2, 3], 1), wave([2, 1], 2)], { axis: 1 }),
  {
    operator: 'Where',
    inputs: [wave([2, 3], 1), wave([3], 2)],
    build: (graph, [yes, no]) =>
      graph.node('Where', [graph.node('Greater', [yes as Value, no as Value]), yes as Value, no as Value]),
  },
  ...[
    { axes: [1], keepdims: 1 },
    { axes: [-1, 0], keepdims: 0 },
  ].flatMap(({ axes, keepdims }) =>
    ['ReduceSum', 'ReduceMean'].map(
      (operator): GradientCase => ({
        operator,
        variant: `axes ${axes}, keepdims ${keepdims}`,
        inputs: [wave([2, 3, 2], 1)],
        build: (graph, [x]) => graph.node(operator, [x as Value, ints(graph, axes)], { keepdims }),
      }),
    ),
  ),
  ...[0, 1].map(
    (axis): GradientCase => ({
      operator: 'Gather',
      variant: `axis ${axis}, repeated and negative indices`,
      inputs: [wave([3, 4], 1)],
      build: (graph, [data]) => {
        const indices = graph.constant(vectorOf('int64', [2, 0, 2, -1, 2, 1], [2, 3]));
        return graph.node('Gather', [data as Value, indices], { axis });
      },
    }),
  ),
  ...[
    { starts: [1], ends: [3], axes: [0] },
    { starts: [-3, 0], ends: [9, -1], axes: [1, 0] },
  ].map(
    ({ starts, ends, axes }): GradientCase => ({
      operator: 'Slice',
      variant: `[${starts}] to [${ends}] of axes [${axes}]`,
      inputs: [wave([4, 5], 1)],
      build: (graph, [x]) =>
        graph.node('Slice', [
          x as Value,
          ints(graph, starts),
          ints(graph, ends),
          ints(graph, axes),
          ints(
            graph,
            axes.map(() => 1),
          ),
        ]),
    }),
  ),
  {
    operator: 'Reshape',
    inputs: [wave([2, 6], 1)],
    build: (graph, [x]) => graph.node('Reshape', [x as Value, ints(graph, [0, -1, 3])]),
  },
  {
    operator: 'Unsqueeze',
    inputs: [wave([2, 3], 1)],
    build: (graph, [x]) => graph.node('Unsqueeze', [x as Value, ints(graph, [0, -1])]),
  },
  ...['of sizes', 'of equal parts', 'with a part that nothing uses'].map(
    (variant): GradientCase => ({
      operator: 'Split',
      variant,
      inputs: [wave([2, 6], 1)],
      build: (graph, [x]) => {
        const [a, b, c] = (
          variant === 'of sizes'
            ? graph.nodeOutputs('Split', [x as Value, ints(graph, [1, 2, 3])], 3, { axis: 1 })
            : graph.nodeOutputs('Split', [x as Value], 3, { axis: 1, num_outputs: 3 })
        ) as [Value, Value, Value];
        return graph.node('Concat', variant.startsWith('with') ? [c, a] : [c, a, b], { axis: 1 });
      },
    }),
  ),
  {
    operator: 'Expand',
    inputs: [wave([2, 1], 1)],
    build: (graph, [x]) => graph.node('Expand', [x as Value, ints(graph, [4, 2, 3])]),
  },
];

/** Σ output · weights with weights of no symmetry, so that a gradient put in the wrong place shows. */
export function weightedSum(graph: Graph, output: Value): Value {
  const dims = staticShape(output);
  const weighted = graph.node('Mul', [output, graph.constant(wave(dims, 0.5))]);
  return dims.length === 0
    ? weighted
    : reduceSum(
        graph,
        weighted,
        dims.map((_, axis) => axis),
        0,
      );
}
