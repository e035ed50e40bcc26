import { reduceSum, scalarLike } from './emit.ts';
import type { Graph, Value } from './graph.ts';

/**
 * Cross-entropy of logits [batch, classes] against target distributions of the same shape, averaged with a weight per
 * example [batch] (weights need not add up to one; a weight of 0 takes a row of padding out; not all may be 0).
 * Label smoothing ε in [0, 1) mixes the targets with the uniform distribution, (1 − ε)·q + ε/classes
 * (Szegedy et al. 2016, arXiv 1512.00567).
 * @returns a scalar, in nats.
 */
export function softCrossEntropy(
  graph: Graph,
  logits: Value,
  targets: Value,
  weights: Value,
  labelSmoothing: number,
): Value {
  const classes = logits.shape[1];
  if (typeof classes !== 'number')
    throw new RangeError(`logits need a static number of classes, got [${logits.shape}]`);
  const smoothed = graph.node('Add', [
    graph.node('Mul', [targets, scalarLike(graph, targets, 1 - labelSmoothing)]),
    scalarLike(graph, targets, labelSmoothing / classes),
  ]);
  const logProbabilities = graph.node('LogSoftmax', [logits], { axis: -1 });
  const perExample = reduceSum(graph, graph.node('Mul', [smoothed, logProbabilities]), [1], 0);
  const total = reduceSum(graph, graph.node('Mul', [perExample, weights]), [0], 0);
  return graph.node('Neg', [graph.node('Div', [total, reduceSum(graph, weights, [0], 0)])]);
}
