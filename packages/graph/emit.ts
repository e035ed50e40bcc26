import type { Graph, Value } from './graph.ts';
import { broadcastAxes, type Shape, staticDims } from './shape.ts';
import { dataTypeCode, type ElementType, scalar, vectorOf } from './tensor.ts';

/** The shape of a value whose dimensions must all be known. @throws RangeError naming the value otherwise. */
export function staticShape(value: Value): readonly number[] {
  const dims = staticDims(value.shape);
  if (dims) return dims;
  throw new RangeError(`value "${value.name}" has the shape [${value.shape}]; a static one is needed here`);
}

/** An int64 vector constant: axes, a shape, pads. */
export const ints = (graph: Graph, values: readonly number[]): Value => graph.constant(vectorOf('int64', values));

/** A scalar constant of the same element type as `like`. */
export const scalarLike = (graph: Graph, like: Value, value: number): Value => graph.constant(scalar(like.type, value));

export const cast = (graph: Graph, value: Value, type: ElementType): Value =>
  value.type === type ? value : graph.node('Cast', [value], { to: dataTypeCode(type) });

export const reshape = (graph: Graph, value: Value, shape: readonly number[]): Value =>
  graph.node('Reshape', [value, ints(graph, shape)]);

export const reduceSum = (graph: Graph, value: Value, axes: readonly number[], keepdims: 0 | 1): Value =>
  graph.node('ReduceSum', [value, ints(graph, axes)], { keepdims });

/** Zeros of a shape, spelled as one repeated scalar, so that a large shape takes no room in the file. */
export const zerosOf = (graph: Graph, type: ElementType, shape: readonly number[]): Value =>
  graph.node('Expand', [graph.constant(scalar(type, 0)), ints(graph, shape)]);

/** `value[starts : ends]` along `axis`, in ONNX's terms: negative bounds count from the end. */
export const slice = (graph: Graph, value: Value, axis: number, start: number, end: number): Value =>
  graph.node('Slice', [value, ints(graph, [start]), ints(graph, [end]), ints(graph, [axis]), ints(graph, [1])]);

/** Undoes broadcasting: sums over the axes along which `shape` was repeated to become the value's. */
export function sumTo(graph: Graph, value: Value, shape: Shape): Value {
  const axes = broadcastAxes(shape, value.shape);
  const summed = axes.length > 0 ? reduceSum(graph, value, axes, 1) : value;
  return summed.shape.join() === shape.join() ? summed : reshape(graph, summed, shape as readonly number[]);
}
