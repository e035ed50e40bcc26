import { ints, reduceSum, staticShape } from './emit.ts';
import type { Attributes, Graph, Value } from './graph.ts';
import { elementCount, scalar, type TensorValue, tensor, vectorOf } from './tensor.ts';

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

/** The same numbers in float32, for operators that onnxruntime's CPU provider has in no other type. */
const single = ({ dims, data }: TensorValue): TensorValue =>
  tensor('float32', dims, Float32Array.from(data as Float64Array));

/** One use of an operator whose inputs, float64 or else float32, are all differentiated. */
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

/** A case for an operator that takes, after the inputs that are differentiated, integer vectors. */
const withInts = (
  operator: string,
  input: TensorValue,
  integers: readonly (readonly number[])[],
  attributes: Attributes = {},
): GradientCase => ({
  operator,
  variant: JSON.stringify({ dims: input.dims, integers, ...attributes }),
  inputs: [input],
  build: (graph, [x]) => graph.node(operator, [x as Value, ...integers.map((list) => ints(graph, list))], attributes),
});

const indicesOf =
  (dims: readonly number[], values: readonly number[]) =>
  (graph: Graph): Value =>
    graph.constant(vectorOf('int64', values, dims));

/** A case for an operator that reads or writes places of its first input; further inputs follow the indices. */
const indexed = (
  operator: string,
  inputs: readonly TensorValue[],
  indices: (graph: Graph) => Value,
  attributes: Attributes,
): GradientCase => ({
  operator,
  variant: JSON.stringify({ dims: inputs.map(({ dims }) => dims), ...attributes }),
  inputs,
  build: (graph, [data, ...rest]) => graph.node(operator, [data as Value, indices(graph), ...rest], attributes),
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
  plain('Gemm', [wave([2, 3], 1), wave([3, 4], 2), wave([4], 3)], { alpha: { float: 0.5 }, beta: { float: 2 } }),
  plain('Pow', [positive([2, 3], 1), wave([3], 2)]),
  {
    operator: 'Pow',
    variant: 'a constant square',
    inputs: [wave([2, 3], 1)],
    build: (graph, [x]) => graph.node('Pow', [x as Value, graph.constant(scalar('float64', 2))]),
  },
  {
    operator: 'Pow',
    variant: 'a constant cube of another type',
    inputs: [wave([2, 3], 1)],
    build: (graph, [x]) => graph.node('Pow', [x as Value, graph.constant(scalar('int64', 3))]),
  },
  plain('Max', [wave([2, 3], 1), wave([3], 2), wave([2, 1], 3)]),
  plain('Min', [wave([2, 3], 1), wave([3], 2)]),
  ...[
    [-0.5, 0.5],
    [undefined, 0.4],
    [-0.4, undefined],
    [undefined, undefined],
  ].map(
    (bounds): GradientCase => ({
      operator: 'Clip',
      variant: `[${bounds}]`,
      inputs: [wave([9], 1)],
      build: (graph, [x]) =>
        graph.node('Clip', [
          x as Value,
          ...bounds.map((bound) => (bound === undefined ? bound : graph.constant(scalar('float64', bound)))),
        ]),
    }),
  ),
  plain('Abs', [wave([7], 1)]),
  plain('Reciprocal', [positive([3], 1)]),
  plain('Sin', [wave([3], 1)]),
  plain('Cos', [wave([3], 1)]),
  plain('Softplus', [single(wave([5], 1))]),
  plain('Erf', [single(wave([5], 1))]),
  plain('Gelu', [single(wave([7], 1))]),
  plain('Gelu', [single(wave([7], 1))], { approximate: 'tanh' }),
  plain('Conv', [single(wave([2, 3, 7], 1)), single(wave([4, 3, 3], 2)), single(wave([4], 3))]),
  plain('Conv', [single(wave([2, 2, 8], 1)), single(wave([3, 2, 3], 2))], {
    pads: [2, 1],
    strides: [2],
    dilations: [2],
    kernel_shape: [3],
  }),
  plain('Conv', [single(wave([1, 2, 6], 1)), single(wave([3, 2, 1], 2))], { strides: [4] }),
  plain('MaxPool', [wave([2, 3, 6], 1)], { kernel_shape: [2], strides: [2] }),
  plain('MaxPool', [wave([2, 2, 7], 1)], { kernel_shape: [3], pads: [1, 1] }),
  plain('LayerNormalization', [single(wave([3, 4], 1)), single(wave([4], 2)), single(wave([4], 3))], { axis: -1 }),
  plain('LayerNormalization', [single(wave([2, 3, 4], 1)), single(wave([3, 4], 2))], { axis: 1 }),
  withInts('CumSum', wave([2, 4], 1), [[1]]),
  withInts('CumSum', wave([4], 1), [[0]], { exclusive: 1, reverse: 1 }),
  withInts('ReduceMax', wave([2, 3, 2], 1), [[1]], { keepdims: 0 }),
  withInts('ReduceMax', wave([2, 3, 2], 1), []),
  withInts('ReduceMin', wave([2, 3], 1), [[-1]]),
  withInts('ReduceL2', wave([2, 3], 1), [[-1]]),
  plain('Transpose', [wave([2, 3, 4], 1)], { perm: [2, 0, 1] }),
  plain('Transpose', [wave([2, 3, 4], 1)]),
  plain('Flatten', [wave([2, 3, 4], 1)], { axis: 2 }),
  withInts('Squeeze', wave([1, 3, 1], 1), [[0]]),
  withInts('Squeeze', wave([1, 3, 1], 1), []),
  withInts('Tile', wave([2, 3], 1), [[2, 3]]),
  withInts('Tile', wave([2, 1], 1), [[1, 4]]),
  {
    operator: 'Trilu',
    inputs: [wave([3, 4], 1)],
    build: (graph, [x]) => graph.node('Trilu', [x as Value, graph.constant(scalar('int64', 1))], { upper: 0 }),
  },
  withInts('Pad', wave([2, 3], 1), [[1, 0, 0, 2]]),
  indexed('GatherElements', [wave([3, 4], 1)], indicesOf([2, 4], [0, 2, 2, 1, 0, 2, 2, -1]), { axis: 0 }),
  indexed('ScatterElements', [wave([3, 4], 1), wave([3, 2], 2)], indicesOf([3, 2], [0, 1, 3, 2, -1, 0]), { axis: 1 }),
  indexed('ScatterElements', [wave([3, 4], 1), wave([2, 4], 2)], indicesOf([2, 4], [0, 1, 0, 2, 0, 1, 2, 0]), {
    axis: 0,
    reduction: 'add',
  }),
  plain('Add', [wave([], 1), wave([], 2)]),
  plain('Mul', [wave([1], 1), wave([2, 1, 3], 2)]),
  plain('Div', [wave([1, 1], 1), positive([2, 3], 2)]),
  plain('MatMul', [wave([1, 1], 1), wave([1, 1], 2)]),
  plain('MatMul', [wave([2, 2, 3], 1), wave([1, 3, 1], 2)]),
  plain('Softmax', [wave([2, 1], 1)], { axis: -1 }),
  plain('Softmax', [wave([2, 3, 2], 1)], { axis: 1 }),
  withInts('ReduceSum', wave([2, 3], 1), []),
  withInts('ReduceMean', wave([1], 1), [[0]], { keepdims: 0 }),
  indexed('Gather', [wave([5, 2], 1)], indicesOf([], [3]), { axis: 0 }),
  indexed('Gather', [wave([5, 2], 1)], indicesOf([7], [3, 3, 3, 3, 3, 3, 3]), { axis: 0 }),
  indexed('Gather', [wave([4], 1)], indicesOf([2, 2], [3, 0, 0, 3]), { axis: 0 }),
  plain('Concat', [wave([2, 3], 1), wave([2, 1], 2)], { axis: 1 }),
  plain('Concat', [wave([2, 3], 1), wave([0, 3], 2), wave([1, 3], 3)], { axis: -2 }),
  {
    operator: 'Where',
    inputs: [wave([2, 3], 1), wave([3], 2)],
    build: (graph, [yes, no]) =>
      graph.node('Where', [graph.node('Greater', [yes as Value, no as Value]), yes as Value, no as Value]),
  },
  {
    operator: 'Where',
    variant: 'a condition that broadcasts both',
    inputs: [wave([1, 3], 1), wave([], 2)],
    build: (graph, branches) => graph.node('Where', [graph.constant(vectorOf('bool', [1, 0], [2, 1])), ...branches]),
  },
  {
    operator: 'Max',
    variant: 'of values that tie, where the share is half',
    inputs: [wave([2, 3], 1)],
    build: (graph, [x]) => graph.node('Max', [x as Value, graph.node('Identity', [x as Value])]),
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
    { starts: [0, 1], ends: [9, 4], axes: [1, 0], steps: [2, 1] },
    { starts: [-1, 0], ends: [-9, 3], axes: [0, 1], steps: [-2, 1] },
    { starts: [0], ends: [0], axes: [0], steps: [1] },
  ].map(({ starts, ends, axes, steps }) =>
    withInts('Slice', wave([4, 5], 1), [starts, ends, axes, ...(steps ? [steps] : [])]),
  ),
  withInts('Slice', wave([4, 5], 1), [[1], [3]]),
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
  const weights = wave(dims, 0.5);
  const weighted = graph.node('Mul', [output, graph.constant(output.type === 'float32' ? single(weights) : weights)]);
  return dims.length === 0
    ? weighted
    : reduceSum(
        graph,
        weighted,
        dims.map((_, axis) => axis),
        0,
      );
}
