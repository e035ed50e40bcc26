import { type Dim, normalizeAxis, type Shape } from '../shape.ts';
import {
  constantInts,
  inputOf,
  intAttribute,
  type NodeContext,
  type Rule,
  type Rules,
  sameAsInput,
  sameType,
} from './context.ts';

/** An operator that works along one axis and keeps the shape. */
const alongAxis: Rule = (node) => {
  normalizeAxis(intAttribute(node, 'axis', -1), inputOf(node, 0).shape.length);
  return sameAsInput(node);
};

const without = (shape: Shape, axes: readonly number[], keepdims: boolean): Shape =>
  shape.flatMap((dim, axis): Dim[] => (!axes.includes(axis) ? [dim] : keepdims ? [1] : []));

/** The axes that a reduction takes: those of its second input, or all. */
export function reducedAxes(node: NodeContext): number[] {
  const { shape } = inputOf(node, 0);
  const given = node.inputs[1] ? constantInts(node, 1) : [];
  if (given.length === 0) {
    return intAttribute(node, 'noop_with_empty_axes', 0) === 1 ? [] : shape.map((_, axis) => axis);
  }
  return given.map((axis) => normalizeAxis(axis, shape.length));
}

const reduce: Rule = (node) => {
  const { type, shape } = inputOf(node, 0);
  return { type, shape: without(shape, reducedAxes(node), intAttribute(node, 'keepdims', 1) === 1) };
};

const argMax: Rule = (node) => {
  const { shape } = inputOf(node, 0);
  const axis = normalizeAxis(intAttribute(node, 'axis', 0), shape.length);
  return { type: 'int64', shape: without(shape, [axis], intAttribute(node, 'keepdims', 1) === 1) };
};

/** Normalised values, means, and inverse deviations; the statistics are float32 whatever the data is. */
const layerNormalization: Rule = (node, count) => {
  const { shape } = inputOf(node, 0);
  const axis = normalizeAxis(intAttribute(node, 'axis', -1), shape.length);
  const statistics = { type: 'float32' as const, shape: shape.map((dim, index) => (index < axis ? dim : 1)) };
  return [{ type: sameType(node), shape }, statistics, statistics].slice(0, count);
};

export const ALONG_AXES: Rules = {
  Softmax: alongAxis,
  LogSoftmax: alongAxis,
  CumSum: sameAsInput,
  ReduceSum: reduce,
  ReduceMean: reduce,
  ReduceMax: reduce,
  ReduceMin: reduce,
  ReduceProd: reduce,
  ReduceL2: reduce,
  ArgMax: argMax,
  LayerNormalization: layerNormalization,
};
