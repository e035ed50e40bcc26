import { cast, reduceSum, scalarLike } from './emit.ts';
import type { Graph, Value } from './graph.ts';

/**
 * All losses are means over the examples of a batch, with a weight for each [batch]. Weights need not add up to one; a
 * weight of 0 takes a row of padding out; not all may be 0.
 */
function weightedMean(graph: Graph, perExample: Value, weights: Value): Value {
  const total = reduceSum(graph, graph.node('Mul', [perExample, weights]), [0], 0);
  return graph.node('Div', [total, reduceSum(graph, weights, [0], 0)]);
}

/** (1 − ε)·value + ε·to */
function mixed(graph: Graph, value: Value, smoothing: number, to: number): Value {
  if (smoothing === 0) return value;
  const kept = graph.node('Mul', [value, scalarLike(graph, value, 1 - smoothing)]);
  return graph.node('Add', [kept, scalarLike(graph, value, smoothing * to)]);
}

/** −Σ targets·logProbabilities over the last of two axes: [batch]. */
const crossEntropy = (graph: Graph, targets: Value, logProbabilities: Value): Value =>
  graph.node('Neg', [reduceSum(graph, graph.node('Mul', [targets, logProbabilities]), [1], 0)]);

/**
 * Cross-entropy of logits [batch, classes] against target distributions of the same shape.
 * Label smoothing ε in [0, 1) mixes the targets with the uniform distribution, (1 − ε)·q + ε/classes
 * (Szegedy et al. 2016, arXiv 1512.00567).
 * A temperature T other than 1 is for targets that a teacher gave at that temperature: the logits are divided by T, and
 * the loss is multiplied by T², because its gradients shrink with 1/T² (Hinton et al. 2015, arXiv 1503.02531, section 2).
 * @returns a scalar, in nats (times T²).
 */
export function softCrossEntropy(
  graph: Graph,
  logits: Value,
  targets: Value,
  weights: Value,
  labelSmoothing: number,
  temperature = 1,
): Value {
  const classes = logits.shape[1];
  if (typeof classes !== 'number')
    throw new RangeError(`logits need a static number of classes, got [${logits.shape}]`);
  const times = (value: Value, factor: number): Value =>
    factor === 1 ? value : graph.node('Mul', [value, scalarLike(graph, value, factor)]);
  const logProbabilities = graph.node('LogSoftmax', [times(logits, 1 / temperature)], { axis: -1 });
  const smoothed = mixed(graph, targets, labelSmoothing, 1 / classes);
  const mean = weightedMean(graph, crossEntropy(graph, smoothed, logProbabilities), weights);
  return times(mean, temperature ** 2);
}

/**
 * Binary cross-entropy of logits [batch, labels] against probabilities of the same shape, summed over the labels: the
 * negative logarithm of the probability of the whole set. log(1 + eˣ) − x·t is stable for logits of any size.
 * Label smoothing ε in [0, 1) mixes the targets with ½.
 * @returns a scalar, in nats.
 */
export function binaryCrossEntropy(
  graph: Graph,
  logits: Value,
  targets: Value,
  weights: Value,
  labelSmoothing: number,
): Value {
  const agreed = graph.node('Mul', [logits, mixed(graph, targets, labelSmoothing, 0.5)]);
  const perLabel = graph.node('Sub', [graph.node('Softplus', [logits]), agreed]);
  return weightedMean(graph, reduceSum(graph, perLabel, [1], 0), weights);
}

/**
 * Huber's loss (1964) of predictions [batch] against targets of the same shape: ½r² for residuals |r| ≤ δ, and
 * δ·(|r| − ½δ) for larger ones.
 * @returns a scalar, in squares of the targets' unit.
 */
export function huber(graph: Graph, predictions: Value, targets: Value, weights: Value, delta: number): Value {
  const distance = graph.node('Abs', [graph.node('Sub', [predictions, targets])]);
  const near = graph.node('Min', [distance, scalarLike(graph, distance, delta)]);
  const beyond = graph.node('Sub', [distance, graph.node('Mul', [near, scalarLike(graph, near, 0.5)])]);
  return weightedMean(graph, graph.node('Mul', [near, beyond]), weights);
}

/** Stands for the logit of a position that cannot be chosen: e to it is 0 in float32. */
const IMPOSSIBLE = -1e9;

/** Where a span starts, or where it ends: logits and target distributions, both [batch, length]. */
export type SpanEnd = { readonly logits: Value; readonly targets: Value };

/**
 * Mean of the cross-entropies of a span's start and end over the positions that a mask [batch, length] (1 or 0) allows
 * (Devlin et al. 2019, arXiv 1810.04805, section 4.2). Targets must be 0 elsewhere. Label smoothing ε in [0, 1) mixes
 * the targets with the uniform distribution over the allowed positions.
 * @returns a scalar, in nats.
 */
export function spanCrossEntropy(
  graph: Graph,
  start: SpanEnd,
  end: SpanEnd,
  mask: Value,
  weights: Value,
  labelSmoothing: number,
): Value {
  const allowed = cast(graph, mask, 'bool');
  const ends = [start, end].map(({ logits, targets }) => {
    const possible = graph.node('Where', [allowed, logits, scalarLike(graph, logits, IMPOSSIBLE)]);
    const logProbabilities = graph.node('LogSoftmax', [possible], { axis: -1 });
    const smoothed = smoothedOver(graph, targets, cast(graph, mask, targets.type), labelSmoothing);
    return crossEntropy(graph, smoothed, logProbabilities);
  }) as [Value, Value];
  const both = graph.node('Add', ends);
  return weightedMean(graph, graph.node('Mul', [both, scalarLike(graph, both, 0.5)]), weights);
}

/** (1 − ε)·targets + ε·mask/Σ mask; a text without any allowed position keeps its targets of 0. */
function smoothedOver(graph: Graph, targets: Value, mask: Value, smoothing: number): Value {
  if (smoothing === 0) return targets;
  const count = graph.node('Max', [reduceSum(graph, mask, [1], 1), scalarLike(graph, mask, 1)]);
  const share = graph.node('Div', [graph.node('Mul', [mask, scalarLike(graph, mask, smoothing)]), count]);
  return graph.node('Add', [graph.node('Mul', [targets, scalarLike(graph, targets, 1 - smoothing)]), share]);
}
