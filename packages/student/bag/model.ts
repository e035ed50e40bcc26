import {
  type Clock,
  type Graph,
  type ParameterSpec,
  reshape,
  scalar,
  slice,
  type Value,
  zerosOf,
} from '@understudy/graph';
import type { HeadLogits } from '../heads/loss.ts';
import { seededUniform } from '../random.ts';
import type { BatchShape } from './batches.ts';
import type { BagHyperparameters } from './hyperparameters.ts';

/** The tensors of a student: `table` [rows, width], `head` [width, labels], `bias` [labels], row-major. */
export type BagParameters = { readonly table: Float32Array; readonly head: Float32Array; readonly bias: Float32Array };

/** The sizes of what is trained: rows of the table that train texts use, of them those that one batch uses, and labels. */
export type TrainedShape = { readonly usedRows: number; readonly batchRows: number; readonly labels: number };

/** One row more, which stays zero, is that of n-grams that no train text has. */
export const tableRowsOf = ({ usedRows }: Pick<TrainedShape, 'usedRows'>): number => usedRows + 1;

/** Of larger parts than this, copying the used rows out and in again costs more than updating all of them. */
const MAX_USED_SHARE = 0.5;

/** How many rows of the table a step reads and updates; undefined where it takes all of them. */
export const batchRowsOf = (shape: TrainedShape): number | undefined =>
  shape.batchRows <= MAX_USED_SHARE * tableRowsOf(shape) ? shape.batchRows : undefined;

export function parameterSpecs({ width }: Pick<BagHyperparameters, 'width'>, shape: TrainedShape): ParameterSpec[] {
  const tableRows = tableRowsOf(shape);
  const batchRows = batchRowsOf(shape);
  const rows = batchRows !== undefined && { input: 'rows', atMost: () => batchRows };
  return [
    { name: 'table', dims: [tableRows, width], decay: false, ...(rows && { rows }) },
    { name: 'head', dims: [width, shape.labels], decay: true },
    { name: 'bias', dims: [shape.labels], decay: false },
  ];
}

/** Table: small and uniform, the last row zero. Head: Glorot and Bengio 2010. Bias: zero. */
export function initialParameters(
  { width, tableBound }: Pick<BagHyperparameters, 'width' | 'tableBound'>,
  shape: TrainedShape,
  seed: number,
): BagParameters {
  const { labels } = shape;
  const table = seededUniform(seed, 'table', tableRowsOf(shape) * width, tableBound);
  return {
    table: table.fill(0, shape.usedRows * width),
    head: seededUniform(seed, 'head', width * labels, Math.sqrt(6 / (width + labels))),
    bias: new Float32Array(labels),
  };
}

/**
 * Texts as weighted sums of table rows, then the head. The sums are one product of a [texts, rows] matrix of n-gram
 * weights and the table: scattering a batch's few thousand weights into that matrix costs far less than gathering, and
 * in the backward pass scattering, as many rows of the table (DESIGN.md has the figures). A training step's matrix has
 * each text twice, under two dropout masks, where `consistency` is not 0.
 */
export function bagLogits(
  graph: Graph,
  { table, head, bias }: Readonly<Record<keyof BagParameters, Value>>,
  { texts, ngrams }: BatchShape,
  { dropout, consistency }: Pick<BagHyperparameters, 'dropout' | 'consistency'>,
  clock: Clock | undefined,
): HeadLogits {
  const rows = graph.input('rows', 'int32', [ngrams]);
  const slots = graph.input('slots', 'int32', [ngrams]);
  const weights = graph.input('ngram_weights', 'float32', [ngrams]);
  const [tableRows] = table.shape as readonly [number, number];
  const int32 = (value: number): Value => graph.constant(scalar('int32', value));
  const cells = graph.node('Add', [graph.node('Mul', [slots, int32(tableRows)]), rows]);
  const passes = clock && consistency > 0 ? 2 : 1;
  const twice = (first: Value, second: Value): Value =>
    passes === 1 ? first : graph.node('Concat', [first, second], { axis: 0 });
  const given = twice(weights, weights);
  const kept = clock ? graph.node('Mul', [given, clock.mask('ngrams', [passes * ngrams], dropout)]) : given;
  const all = twice(cells, graph.node('Add', [cells, int32(texts * tableRows)]));
  const empty = zerosOf(graph, 'float32', [passes * texts * tableRows]);
  const bags = graph.node('ScatterElements', [empty, all, kept], { axis: 0, reduction: 'add' });
  const sums = graph.node('Gemm', [reshape(graph, bags, [passes * texts, tableRows]), table]);
  const logits = graph.node('Gemm', [sums, head, bias]);
  if (passes === 1) return { texts: logits };
  const again = { texts: slice(graph, logits, 0, texts, 2 * texts), consistency };
  return { texts: slice(graph, logits, 0, 0, texts), again };
}
