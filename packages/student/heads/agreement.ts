import type { Head, HeadValue } from '@understudy/task/output/head';
import type { Example } from '../examples.ts';
import { isAsked, type Layout, type Place, TAGS } from './layout.ts';
import { type Prediction, type Reading, readHead } from './read.ts';
import { tagsOf, textsOf } from './spans.ts';
import { denseTarget, type HeadTarget } from './targets.ts';

/** How well a student does on examples, by their weights. */
export type DevResult = {
  /** Share of examples whose whole answer is the teacher's, 0..1. */
  readonly devAgreement: number;
  /** Mean negative logarithm of the probability of the teacher's whole answer, in nats. */
  readonly devLoss: number;
};

/** Whether two values of a head are the same answer: numbers within the tolerance, sets in any order, spans by their texts. */
export function agrees(head: Head, one: HeadValue, other: HeadValue, text: string): boolean {
  if (one.kind === 'choice' && other.kind === 'choice') return one.index === other.index;
  if (one.kind === 'tags' && other.kind === 'tags') return one.indices.join() === other.indices.join();
  if (one.kind === 'span' && other.kind === 'span') {
    return JSON.stringify(textsOf(text, one.spans)) === JSON.stringify(textsOf(text, other.spans));
  }
  if (head.kind !== 'number' || one.kind !== 'number' || other.kind !== 'number') return false;
  if (one.value === undefined || other.value === undefined) return one.value === other.value;
  return Math.abs(one.value - other.value) <= head.tolerance;
}

/** −Σ targets·log softmax(logits) over the rows of a matrix. */
function crossEntropy(logits: ArrayLike<number>, targets: ArrayLike<number>, width: number): number {
  let loss = 0;
  for (let at = 0; at < logits.length; at += width) {
    let largest = Number.NEGATIVE_INFINITY;
    for (let i = at; i < at + width; i++) largest = Math.max(largest, logits[i] as number);
    let partition = 0;
    for (let i = at; i < at + width; i++) partition += Math.exp((logits[i] as number) - largest);
    const logPartition = largest + Math.log(partition);
    for (let i = at; i < at + width; i++) loss += (targets[i] as number) * (logPartition - (logits[i] as number));
  }
  return loss;
}

/** Σ log(1 + eˣ) − x·t */
const binaryCrossEntropy = (logits: Float32Array, targets: readonly number[]): number =>
  logits.reduce(
    (sum, x, i) => sum + Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))) - x * (targets[i] as number),
    0,
  );

/** A head's part of the loss of a prediction. */
function headLoss({ head }: Place, target: HeadTarget, { logits, tokens }: Prediction): number {
  const given = logits[head.name] as Float32Array;
  if (head.kind === 'tags') return binaryCrossEntropy(given, denseTarget(head, target));
  if (head.kind !== 'span') return crossEntropy(given, denseTarget(head, target), given.length);
  if (target.value.kind !== 'span' || !tokens) throw new TypeError(`head "${head.name}" has no spans to compare with`);
  const rows = new Float32Array(given.length);
  for (const [token, tag] of tagsOf(target.value.spans, tokens).entries()) {
    if (tokens.starts[token] !== tokens.ends[token]) rows[TAGS * token + tag] = 1;
  }
  return crossEntropy(given, rows, TAGS);
}

/** Whether an answer is the teacher's: in all heads, apart from what lies in objects that neither of them has. */
function wholeAgrees(layout: Layout, readings: readonly Reading[], { text, target }: Example): boolean {
  const values = target.map(({ value }) => value);
  return layout.places.every(
    (place, i) =>
      !isAsked(place, layout, values) ||
      agrees(place.head, (readings[i] as Reading).value, values[i] as HeadValue, text),
  );
}

/** A prediction's likeliest values, in the order of the heads, uncalibrated. */
const readingsOf = ({ places }: Layout, prediction: Prediction, text: string): Reading[] =>
  places.map(({ head }) => readHead(head, prediction, 1, text));

/** Agreement and loss of predictions, against the teacher's answers to the same texts. */
export function compare(layout: Layout, predictions: readonly Prediction[], examples: readonly Example[]): DevResult {
  let [agreed, loss, total] = [0, 0, 0];
  for (const [i, example] of examples.entries()) {
    const prediction = predictions[i] as Prediction;
    const values = example.target.map(({ value }) => value);
    if (wholeAgrees(layout, readingsOf(layout, prediction, example.text), example)) agreed += example.weight;
    for (const [at, place] of layout.places.entries()) {
      if (!isAsked(place, layout, values)) continue;
      loss += example.weight * headLoss(place, example.target[at] as HeadTarget, prediction);
    }
    total += example.weight;
  }
  return { devAgreement: agreed / total, devLoss: loss / total };
}
