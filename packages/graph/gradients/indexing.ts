import { ints, reshape, slice, staticShape, zerosOf } from '../emit.ts';
import { NoGradientError } from '../errors.ts';
import type { Graph, GraphNode, Value } from '../graph.ts';
import { constantInts, inputOf, intAttribute, stringAttribute } from '../operators/context.ts';
import { clampCut, cutsOf } from '../operators/indexing.ts';
import { normalizeAxis } from '../shape.ts';
import { elementCount, vectorOf } from '../tensor.ts';
import { axisOf, firstOutput, type GradientRule, type GradientRules, type InputGradient } from './rule.ts';

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

const gatherElements: GradientRule = (graph, node, upstream) => [
  () => {
    const [data, indices] = [inputOf(node, 0), inputOf(node, 1)];
    const target = zerosOf(graph, data.type, staticShape(data));
    const axis = normalizeAxis(intAttribute(node, 'axis', 0), data.shape.length);
    return graph.node('ScatterElements', [target, indices, upstream], { axis, reduction: 'add' });
  },
  null,
];

/** What is overwritten has no gradient; what is added to keeps its own. */
const scatterElements: GradientRule = (graph, node, upstream) => {
  const [indices, axis] = [inputOf(node, 1), axisOf(node, 0)];
  const reduction = stringAttribute(node, 'reduction', 'none');
  if (reduction !== 'none' && reduction !== 'add') {
    throw new NoGradientError(`ScatterElements (reduction ${reduction})`, node.name, graph.name);
  }
  return [
    () => {
      if (reduction === 'add') return upstream;
      const nothing = zerosOf(graph, upstream.type, staticShape(indices));
      return graph.node('ScatterElements', [upstream, indices, nothing], { axis });
    },
    null,
    () => graph.node('GatherElements', [upstream, indices], { axis }),
  ];
};

const concat: GradientRule = (graph, node, upstream) => {
  const axis = axisOf(node, 0);
  let end = 0;
  return node.inputs.map((_, index) => {
    const start = end;
    end += staticShape(inputOf(node, index))[axis] as number;
    const stop = end;
    return () => slice(graph, upstream, axis, start, stop);
  });
};

/** Puts every `step`-th element of an axis of `dim` elements back where a slice took it from. */
function spread(graph: Graph, value: Value, axis: number, dim: number, places: readonly number[]): Value {
  const shape = staticShape(value);
  const column = shape.map((_, index) => (index === axis ? places.length : 1));
  const indices = graph.node('Expand', [graph.constant(vectorOf('int64', places, column)), ints(graph, shape)]);
  return graph.node('ScatterElements', [zerosOf(graph, value.type, shape.with(axis, dim)), indices, value], { axis });
}

/** Cuts in steps of 1 are undone by one padding with zeros, others by scattering. */
const sliceRule: GradientRule = (graph, node, upstream) => [
  () => {
    const shape = staticShape(inputOf(node, 0));
    const kept = staticShape(firstOutput(node));
    const before = shape.map(() => 0);
    const after = shape.map(() => 0);
    let gradient = upstream;
    for (const cut of cutsOf(graph.contextOf(node))) {
      const { axis, step } = cut;
      const dim = shape[axis] as number;
      const { first, count } = clampCut(cut, dim);
      if (step === 1) {
        before[axis] = first;
        after[axis] = dim - first - (kept[axis] as number);
      } else {
        const places = Array.from({ length: count }, (_, i) => first + i * step);
        gradient = spread(graph, gradient, axis, dim, places);
      }
    }
    const pads = [...before, ...after];
    return pads.every((pad) => pad === 0) ? gradient : graph.node('Pad', [gradient, ints(graph, pads)]);
  },
  null,
  null,
  null,
  null,
];

/** Cuts off what was added; negative pads, which cut, are padded with zeros. */
const pad: GradientRule = (graph, node, upstream) => [
  () => {
    const pads = constantInts(graph.contextOf(node), 1);
    return graph.node('Pad', [
      upstream,
      ints(
        graph,
        pads.map((amount) => -amount),
      ),
    ]);
  },
  null,
  null,
];

/** The gradients of a node's inputs from those of all of its outputs, some of which the loss may not depend on. */
export type GradientRuleOfSeveral = (
  graph: Graph,
  node: GraphNode,
  upstream: readonly (Value | undefined)[],
) => readonly InputGradient[];

const split: GradientRuleOfSeveral = (graph, node, upstream) => {
  const parts = node.outputs.map((output, i) => upstream[i] ?? zerosOf(graph, output.type, staticShape(output)));
  return [() => graph.node('Concat', parts, { axis: axisOf(node, 0) }), null];
};

export const INDEXING_GRADIENTS: GradientRules = {
  Gather: gather,
  GatherElements: gatherElements,
  ScatterElements: scatterElements,
  Concat: concat,
  Slice: sliceRule,
  Pad: pad,
};

/** Rules of operators with several differentiable outputs. */
export const GRADIENT_RULES_OF_SEVERAL: Readonly<Record<string, GradientRuleOfSeveral>> = { Split: split };
