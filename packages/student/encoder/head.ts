import { type Graph, meanPool, reduceSum, reshape, scalarLike, slice, type Value } from '@understudy/graph';
import type { Pooling } from './folder.ts';

/** The head's parameters are `student.head.weight` and `.bias`: no published encoder has weights of that name. */
export const HEAD = 'student.head';

/** A vector of no length, of a text without tokens, stays zero; under the root, where it keeps the gradient finite. */
const SMALLEST_SQUARE = 1e-12;

function pooled(graph: Graph, states: Value, mask: Value, pooling: Pooling): Value {
  if (pooling === 'mean') return meanPool(graph, states, mask);
  return reshape(graph, slice(graph, states, 1, 0, 1), [-1, states.shape[2] as number]);
}

/**
 * Emits what a head reads of an encoder's states [batch, length, width]: one vector a text, of length √width, so that its
 * numbers are of the size of one whatever the encoder.
 * @param mask float32 [batch, length]: 1 for a token, 0 for padding.
 */
export function features(graph: Graph, states: Value, mask: Value, pooling: Pooling): Value {
  const vector = pooled(graph, states, mask, pooling);
  const squares = reduceSum(graph, graph.node('Mul', [vector, vector]), [1], 1);
  const length = graph.node('Sqrt', [graph.node('Max', [squares, scalarLike(graph, vector, SMALLEST_SQUARE)])]);
  const width = vector.shape[1] as number;
  return graph.node('Mul', [graph.node('Div', [vector, length]), scalarLike(graph, vector, Math.sqrt(width))]);
}
