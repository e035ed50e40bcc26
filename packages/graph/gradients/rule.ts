import type { Graph, GraphNode, Value } from '../graph.ts';
import { normalizeAxis } from '../shape.ts';

/** Emits the gradient for one input; null where the operator has none for it (indices, axes, conditions). */
export type InputGradient = (() => Value) | null;

/** The gradients of a node's inputs, given `upstream`: the gradient of the loss for the node's first output. */
export type GradientRule = (graph: Graph, node: GraphNode, upstream: Value) => readonly InputGradient[];
export type GradientRules = Readonly<Record<string, GradientRule>>;

/** Of a node whose operator has one output, or whose further ones carry no gradient. */
export const firstOutput = (node: GraphNode): Value => node.outputs[0] as Value;

/** An attribute that names one axis of the node's output. */
export const axisOf = (node: GraphNode, fallback: number): number =>
  normalizeAxis(Number(node.attributes.axis ?? fallback), firstOutput(node).shape.length);
