import { type Graph, meanPool, reduceSum, reshape, scalarLike, slice, type Value } from '@understudy/graph';
import type { Features } from '../heads/linear.ts';
import type { Pooling } from './folder.ts';

/** The head's parameters are `student.head.weight` and `.bias`: no published encoder has weights of that name. */
export const HEAD = 'student.head';

/** A vector of no length, of a text without tokens, stays zero; under the root, where it keeps the gradient finite. */
const SMALLEST_SQUARE = 1e-12;

function pooled(graph: Graph, states: Value, mask: Value, pooling: Pooling): Value {
  if (pooling === 'mean') return meanPool(graph, states, mask);
  return reshape(graph, slice(graph, states, 1, 0, 1), [-1, states.shape[2] as number]);
}

/** Vectors along the last axis, brought to a length of √width. */
function scaled(graph: Graph, vectors: Value): Value {
  const last = vectors.shape.length - 1;
  const squares = reduceSum(graph, graph.node('Mul', [vectors, vectors]), [last], 1);
  const length = graph.node('Sqrt', [graph.node('Max', [squares, scalarLike(graph, vectors, SMALLEST_SQUARE)])]);
  const width = vectors.shape[last] as number;
  return graph.node('Mul', [graph.node('Div', [vectors, length]), scalarLike(graph, vectors, Math.sqrt(width))]);
}

/**
 * Emits what heads read of an encoder's states [batch, length, width]: one vector a text, and one a token, of length
 * √width, so that their numbers are of the size of one whatever the encoder.
 * @param mask float32 [batch, length]: 1 for a token, 0 for padding.
 */
export const features = (graph: Graph, states: Value, mask: Value, pooling: Pooling): Features => ({
  texts: scaled(graph, pooled(graph, states, mask, pooling)),
  tokens: () => scaled(graph, states),
});
