import { type Graph, reduceSum, reshape, scalar, slice, softCrossEntropy, type Value } from '@understudy/graph';
import { type Layout, type Place, TAGS } from './layout.ts';
import { isPlain } from './targets.ts';

/** Logits of all heads, as a family emits them: see `Layout`. */
export type HeadLogits = { readonly texts?: Value; readonly tokens?: Value; readonly again?: SecondPass };

/** The texts' logits under another dropout mask, and what a nat between the two passes costs, in nats of the loss. */
export type SecondPass = { readonly texts: Value; readonly consistency: number };

/** −Σ targets·log softmax(logits) over the last of two axes. */
function crossEntropy(graph: Graph, logits: Value, targets: Value): Value {
  const logs = graph.node('LogSoftmax', [logits], { axis: -1 });
  return graph.node('Neg', [reduceSum(graph, graph.node('Mul', [targets, logs]), [1], 0)]);
}

/** Σ log(1 + eˣ) − x·t over the last of two axes. */
function binaryCrossEntropy(graph: Graph, logits: Value, targets: Value): Value {
  const agreed = graph.node('Mul', [logits, targets]);
  return reduceSum(graph, graph.node('Sub', [graph.node('Softplus', [logits]), agreed]), [1], 0);
}

const total = (graph: Graph, value: Value, weights: Value): Value =>
  reduceSum(
    graph,
    graph.node('Mul', [value, weights]),
    value.shape.map((_, axis) => axis),
    0,
  );

const columns = (graph: Graph, value: Value, at: number, width: number): Value =>
  width === value.shape.at(-1) ? value : slice(graph, value, 1, at, at + width);

/** A text head's loss, summed over the texts of a batch that it is asked of. */
function textLoss(graph: Graph, { head, at, width }: Place, logits: Value, targets: Value, weights: Value): Value {
  const [own, wanted] = [columns(graph, logits, at, width), columns(graph, targets, at, width)];
  const loss = head.kind === 'tags' ? binaryCrossEntropy(graph, own, wanted) : crossEntropy(graph, own, wanted);
  return total(graph, loss, weights);
}

/**
 * How far two passes part on a text head, summed over the texts that it is asked of: KL(p‖q) + KL(q‖p), which is
 * Σ (p − q)·(a − b) for logits a and b, of a choice as of the independent labels of a set.
 */
function parting(graph: Graph, { head, at, width }: Place, first: Value, again: Value, weights: Value): Value {
  const [a, b] = [columns(graph, first, at, width), columns(graph, again, at, width)];
  const probabilities = (logits: Value): Value =>
    head.kind === 'tags' ? graph.node('Sigmoid', [logits]) : graph.node('Softmax', [logits], { axis: -1 });
  const apart = graph.node('Sub', [probabilities(a), probabilities(b)]);
  const both = graph.node('Mul', [apart, graph.node('Sub', [a, b])]);
  return total(graph, reduceSum(graph, both, [1], 0), weights);
}

const times = (graph: Graph, value: Value, factor: number): Value =>
  graph.node('Mul', [value, graph.constant(scalar('float32', factor))]);

/** A loss of the texts' logits; with a second pass, the mean of both and what their parting costs (R-Drop, Liang et al. 2021, arXiv 2106.14448). */
function overPasses(
  graph: Graph,
  { texts, again }: HeadLogits,
  loss: (logits: Value) => Value,
  apart: (first: Value, second: Value) => Value,
): Value {
  const first = texts as Value;
  if (!again) return loss(first);
  const mean = times(graph, graph.node('Add', [loss(first), loss(again.texts)]), 0.5);
  return graph.node('Add', [mean, times(graph, apart(first, again.texts), again.consistency)]);
}

/**
 * The loss of a batch, a mean over its texts by their weights. One choice: softCrossEntropy, with label smoothing. Several
 * heads: the sum over those that are asked of a text, in nats: cross-entropy of choices and numbers, binary
 * cross-entropy of sets, cross-entropy of every token's tags for spans; that is the negative logarithm of the whole
 * answer's probability. A second pass adds what `overPasses` says. Declares the inputs that `Targets` gives.
 */
export function lossOf(graph: Graph, layout: Layout, logits: HeadLogits, batchTexts: number, smoothing: number): Value {
  const { texts, tokens, textWidth, tokenWidth } = layout;
  const input = (name: string, dims: readonly number[]): Value => graph.input(name, 'float32', dims);
  if (isPlain(layout)) {
    const targets = input('targets', [batchTexts, textWidth]);
    const weights = input('example_weights', [batchTexts]);
    return overPasses(
      graph,
      logits,
      (pass) => softCrossEntropy(graph, pass, targets, weights, smoothing),
      (first, again) => {
        const sum = parting(graph, texts[0] as Place, first, again, weights);
        return graph.node('Div', [sum, reduceSum(graph, weights, [0], 0)]);
      },
    );
  }
  const sums: Value[] = [];
  if (logits.texts) {
    const targets = input('targets', [batchTexts, textWidth]);
    const weights = input('head_weights', [batchTexts, texts.length]);
    for (const [i, place] of texts.entries()) {
      const own = reshape(graph, columns(graph, weights, i, 1), [batchTexts]);
      sums.push(
        overPasses(
          graph,
          logits,
          (pass) => textLoss(graph, place, pass, targets, own),
          (first, again) => parting(graph, place, first, again, own),
        ),
      );
    }
  }
  if (logits.tokens) {
    const length = logits.tokens.shape[1] as number;
    const rows = (batchTexts * length * tokenWidth) / TAGS;
    const targets = input('token_targets', [batchTexts, length, tokenWidth]);
    const weights = input('token_weights', [batchTexts, length, tokens.length]);
    const flat = (value: Value): Value => reshape(graph, value, [rows, TAGS]);
    const loss = crossEntropy(graph, flat(logits.tokens), flat(targets));
    sums.push(total(graph, loss, reshape(graph, weights, [rows])));
  }
  const sum = sums.reduce((a, b) => graph.node('Add', [a, b]));
  return graph.node('Div', [sum, reduceSum(graph, input('example_weights', [batchTexts]), [0], 0)]);
}
