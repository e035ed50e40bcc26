import { cast, ints, reduceSum, reshape, scalarLike, staticShape, sumTo } from '../emit.ts';
import type { Graph, GraphNode, Value } from '../graph.ts';
import { reducedAxes } from '../operators/along-axes.ts';
import { inputOf } from '../operators/context.ts';
import { elementCount } from '../tensor.ts';
import { axisOf, firstOutput, type GradientRule, type GradientRules } from './rule.ts';

/**
 * A row of which everything is masked has no softmax, only NaN; exporters put zeros there, by `Where(IsNaN(y), 0, y)`.
 * What they put is used instead of y, or the gradient of such rows would be NaN times 0.
 */
function withoutNaN(graph: Graph, y: Value): Value {
  const test = graph.nodes.find(({ operator, inputs }) => operator === 'IsNaN' && inputs[0]?.name === y.name);
  const cleaned = graph.nodes.find(
    ({ operator, inputs: [condition, , no] }) =>
      operator === 'Where' && test && condition?.name === test.outputs[0]?.name && no?.name === y.name,
  );
  return cleaned?.outputs[0] ?? y;
}

/** y·(u − Σ u·y) */
const softmax: GradientRule = (graph, node, upstream) => [
  () => {
    const y = withoutNaN(graph, firstOutput(node));
    const sum = reduceSum(graph, graph.node('Mul', [upstream, y]), [axisOf(node, -1)], 1);
    return graph.node('Mul', [y, graph.node('Sub', [upstream, sum])]);
  },
];

/** u − softmax(x)·Σ u */
const logSoftmax: GradientRule = (graph, node, upstream) => [
  () => {
    const sum = reduceSum(graph, upstream, [axisOf(node, -1)], 1);
    const probabilities = graph.node('Exp', [firstOutput(node)]);
    return graph.node('Sub', [upstream, graph.node('Mul', [probabilities, sum])]);
  },
];

/** The shape of a reduction's output as it is with its reduced axes kept as ones. */
function keptShape(graph: Graph, node: GraphNode): number[] {
  const axes = reducedAxes(graph.contextOf(node));
  return staticShape(inputOf(node, 0)).map((dim, axis) => (axes.includes(axis) ? 1 : dim));
}

/** Repeats the reduced gradient along the axes that were summed, scaled by `factor` of the elements a sum took. */
const sumLike =
  (factor: (reduced: number) => number): GradientRule =>
  (graph, node, upstream) => [
    () => {
      const shape = staticShape(inputOf(node, 0));
      const kept = keptShape(graph, node);
      const scale = factor(elementCount(shape) / elementCount(kept));
      const scaled = scale === 1 ? upstream : graph.node('Mul', [upstream, scalarLike(graph, upstream, scale)]);
      return graph.node('Expand', [reshape(graph, scaled, kept), ints(graph, shape)]);
    },
    null,
  ];

/** The gradient goes to the elements that the result is; those that tie share it. */
const extremum: GradientRule = (graph, node, upstream) => [
  () => {
    const kept = keptShape(graph, node);
    const axes = reducedAxes(graph.contextOf(node));
    const result = reshape(graph, firstOutput(node), kept);
    const chosen = cast(graph, graph.node('Equal', [inputOf(node, 0), result]), upstream.type);
    const share = graph.node('Div', [reshape(graph, upstream, kept), reduceSum(graph, chosen, axes, 1)]);
    return graph.node('Mul', [chosen, share]);
  },
  null,
];

/** u·x/‖x‖ */
const reduceL2: GradientRule = (graph, node, upstream) => [
  () => {
    const kept = keptShape(graph, node);
    const share = reshape(graph, graph.node('Div', [upstream, firstOutput(node)]), kept);
    return graph.node('Mul', [inputOf(node, 0), share]);
  },
  null,
];

const flipped = (value: unknown): number => (Number(value ?? 0) === 1 ? 0 : 1);

const cumSum: GradientRule = (graph, node, upstream) => [
  () =>
    graph.node('CumSum', [upstream, inputOf(node, 1)], {
      ...node.attributes,
      reverse: flipped(node.attributes.reverse),
    }),
  null,
];

/**
 * y = s·x̂ + b with x̂ = (x − mean)/σ over the last axes (Ba, Kiros, Hinton 2016, arXiv 1607.06450). With v = u·s,
 * dx = (v − mean(v) − x̂·mean(v·x̂))/σ, ds = Σ u·x̂, db = Σ u. The forward node gives mean and 1/σ, in float32.
 */
const layerNormalization: GradientRule = (graph, node, upstream) => {
  const [x, scale] = [inputOf(node, 0), inputOf(node, 1)];
  const axes = staticShape(x).flatMap((_, axis) => (axis >= axisOf(node, -1) ? [axis] : []));
  const [, mean, inverse] = graph.outputsOf(node, 3).map((value) => cast(graph, value, x.type)) as [
    Value,
    Value,
    Value,
  ];
  const normal = graph.node('Mul', [graph.node('Sub', [x, mean]), inverse]);
  const weighted = graph.node('Mul', [upstream, normal]);
  const average = (value: Value): Value => graph.node('ReduceMean', [value, ints(graph, axes)], { keepdims: 1 });
  return [
    () => {
      const scaled = graph.node('Mul', [upstream, scale]);
      const along = graph.node('Mul', [normal, average(graph.node('Mul', [weighted, scale]))]);
      const centred = graph.node('Sub', [graph.node('Sub', [scaled, average(scaled)]), along]);
      return graph.node('Mul', [centred, inverse]);
    },
    () => sumTo(graph, weighted, scale.shape),
    () => sumTo(graph, upstream, inputOf(node, 2).shape),
  ];
};

export const ALONG_AXES_GRADIENTS: GradientRules = {
  Softmax: softmax,
  LogSoftmax: logSoftmax,
  ReduceSum: sumLike(() => 1),
  ReduceMean: sumLike((count) => 1 / count),
  ReduceMax: extremum,
  ReduceMin: extremum,
  ReduceL2: reduceL2,
  CumSum: cumSum,
  LayerNormalization: layerNormalization,
};
