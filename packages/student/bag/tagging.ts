/**
 * How a bag tags bytes: the rows of the n-grams around each byte, of a table of their own, are added up, and two
 * convolutions read what stands to the left and to the right of it, some twenty bytes each way. DESIGN.md says what was tried.
 */
import {
  cast,
  type Dropout,
  dropout,
  elementCount,
  type Graph,
  ints,
  type LayerParameter,
  type MaskSource,
  type Parameters,
  reduceSum,
  reshape,
  slice,
  type TensorValue,
  tensor,
  type Value,
} from '@understudy/graph';
import type { Layout } from '../heads/layout.ts';
import { headParameters } from '../heads/linear.ts';
import type { ParameterValues, Precision } from '../learner.ts';
import { startValues } from '../sequence/start.ts';
import { NGRAM_SIZES, type NgramRows } from './hash.ts';
import { quantizeColumns } from './quantize.ts';
import type { RowCache } from './rows.ts';

/** Numbers of a row of the table, and of what the convolutions make of a byte. */
const [ROW_WIDTH, FEATURES] = [24, 64];
/** Share of n-grams, and of features, that a step leaves out: with 0.6 tagging hardly learned. */
const DROPOUT = 0.3;
/** Each convolution reads so many places, so many bytes apart. */
const KERNEL = 5;
const DILATIONS = [3, 5] as const;

export const TAGGING_TABLE = 'tagging.table';
export const HEAD = 'tagging';

const layers = (): LayerParameter[] =>
  DILATIONS.flatMap((_, i) => {
    const inputs = i === 0 ? ROW_WIDTH : FEATURES;
    return [
      {
        name: `tagging.conv${i + 1}.weight`,
        dims: [FEATURES, inputs, KERNEL],
        decay: true,
        start: { bound: Math.sqrt(6 / (inputs * KERNEL + FEATURES)) },
      },
      { name: `tagging.conv${i + 1}.bias`, dims: [FEATURES], decay: false, start: { constant: 0 } },
    ];
  });

/** What tags bytes, apart from the table. */
const taggingLayers = (layout: Layout): LayerParameter[] => [
  ...layers(),
  ...headParameters(HEAD, { ...layout, textWidth: 0 }, { texts: 0, tokens: FEATURES }),
];

/** Bytes of it with int8 weights. */
export const taggingBytes = (rows: number, layout: Layout): number =>
  rows * ROW_WIDTH + taggingLayers(layout).reduce((sum, { dims }) => sum + 4 * elementCount(dims), 0);

/**
 * The parameters of tagging.
 * @param tableRows of the table, its last one that of n-grams that no train text has
 * @param batchRows of it that one batch uses; undefined where it uses most
 */
export function taggingParameters(layout: Layout, tableRows: number, batchRows: number | undefined): LayerParameter[] {
  const rows = batchRows !== undefined && { input: 'token_rows', atMost: () => batchRows };
  const start = { bound: 0.1 };
  return [
    { name: TAGGING_TABLE, dims: [tableRows, ROW_WIDTH], decay: false, start, ...(rows && { rows }) },
    ...taggingLayers(layout),
  ];
}

/** Where they start: the last row of the table is zero. */
export function taggingStart(parameters: readonly LayerParameter[], seed: number): ParameterValues {
  const values = startValues(parameters, seed);
  values[TAGGING_TABLE]?.fill(0, -ROW_WIDTH);
  return values;
}

/** How far before a byte its n-gram of a size starts, counted in the text with a space before it; two bytes start one after. */
const startBefore = (size: number): number => Math.floor((size - 1) / 2) - 1;

/**
 * The rows around each byte of some texts, as an input of the graph: `token_rows` int32 [texts, length, sizes].
 * @param none the row that stands for no n-gram
 */
export function tokenRows(
  { rows, offsets }: RowCache,
  bytes: ArrayLike<number>,
  indices: ArrayLike<number>,
  dims: { readonly texts: number; readonly length: number; readonly none: number },
): TensorValue {
  const sizes = NGRAM_SIZES.length;
  const values = new Int32Array(dims.texts * dims.length * sizes).fill(dims.none);
  for (let slot = 0; slot < indices.length; slot++) {
    const index = indices[slot] as number;
    const count = bytes[index] as number;
    let first = offsets[index] as number;
    for (const [at, size] of NGRAM_SIZES.entries()) {
      // A text of n bytes has n + 2 places with its spaces.
      const ngrams = Math.max(0, count + 3 - size);
      for (let byte = 0; byte < Math.min(count, dims.length); byte++) {
        const place = byte - startBefore(size);
        if (place < 0 || place >= ngrams) continue;
        values[(slot * dims.length + byte) * sizes + at] = rows[first + place] as number;
      }
      first += ngrams;
    }
  }
  return tensor('int32', [dims.texts, dims.length, sizes], values);
}

/** Features [batch, length, FEATURES] of bytes from the sums of their rows [batch, length, ROW_WIDTH]. */
function convolved(graph: Graph, sums: Value, mask: Value, parameters: Parameters): Value {
  const inside = graph.node('Unsqueeze', [mask, ints(graph, [1])]);
  let channels = graph.node('Transpose', [sums], { perm: [0, 2, 1] });
  for (const [i, dilation] of DILATIONS.entries()) {
    const reach = (dilation * (KERNEL - 1)) / 2;
    const layer = [parameters[`tagging.conv${i + 1}.weight`], parameters[`tagging.conv${i + 1}.bias`]] as Value[];
    const conv = graph.node('Conv', [channels, ...layer], { pads: [reach, reach], dilations: [dilation] });
    // Beyond a text's end there is nothing, whatever batch it is in.
    channels = graph.node('Mul', [graph.node('Relu', [conv]), inside]);
  }
  return graph.node('Transpose', [channels], { perm: [0, 2, 1] });
}

/** Features of bytes in a training step. Declares `token_rows` and `token_mask` for batches of these dims. */
export function taggingFeatures(
  graph: Graph,
  parameters: Parameters,
  [texts, length]: readonly [number, number],
  mask: MaskSource | undefined,
): Value {
  const dropped: Dropout | undefined = mask && { rate: DROPOUT, mask };
  const sizes = NGRAM_SIZES.length;
  const rows = graph.input('token_rows', 'int32', [texts, length, sizes]);
  const inside = graph.input('token_mask', 'float32', [texts, length]);
  const gathered = graph.node('Gather', [parameters[TAGGING_TABLE] as Value, rows]);
  const kept = dropped
    ? graph.node('Mul', [gathered, dropped.mask('token_ngrams', [texts, length, sizes, 1], dropped.rate)])
    : gathered;
  const features = convolved(graph, reduceSum(graph, kept, [2], 0), inside, parameters);
  return dropout(graph, features, 'token_features', dropped);
}

/** The rows' numbers in the finished student, as float32 [batch, n-grams, ROW_WIDTH]. */
function gatheredRows(graph: Graph, table: Float32Array, rows: Value, precision: Precision): Value {
  const dims = [table.length / ROW_WIDTH, ROW_WIDTH];
  if (precision === 'float32')
    return graph.node('Gather', [graph.constant(tensor('float32', dims, table), TAGGING_TABLE), rows]);
  const { integers, scales } = quantizeColumns(table, ROW_WIDTH);
  const gathered = graph.node('Gather', [graph.constant(tensor('int8', dims, integers), TAGGING_TABLE), rows]);
  const factors = graph.constant(tensor('float32', [ROW_WIDTH], scales), `${TAGGING_TABLE}.scales`);
  return graph.node('Mul', [cast(graph, gathered, 'float32'), factors]);
}

/**
 * Features of bytes in the finished student.
 * @param table of all rows
 */
export function finishedFeatures(
  graph: Graph,
  { rows, valid }: NgramRows,
  attentionMask: Value,
  parameters: ParameterValues,
  precision: Precision,
): Value {
  const sizes = NGRAM_SIZES.length;
  const inside = graph.node('Unsqueeze', [cast(graph, valid, 'float32'), ints(graph, [2])]);
  const numbers = graph.node('Mul', [
    gatheredRows(graph, parameters[TAGGING_TABLE] as Float32Array, rows, precision),
    inside,
  ]);
  const bySize = reshape(graph, numbers, [0, sizes, -1, ROW_WIDTH]);
  const parts = NGRAM_SIZES.map((size, at) => {
    const own = reshape(graph, slice(graph, bySize, 1, at, at + 1), [0, -1, ROW_WIDTH]);
    const before = startBefore(size);
    const shifted = before > 0 ? graph.node('Pad', [own, ints(graph, [0, before, 0, 0, 0, 0])]) : own;
    // There are two more places than bytes.
    return slice(graph, shifted, 1, Math.max(0, -before), -2 - before);
  });
  const sums = parts.reduce((a, b) => graph.node('Add', [a, b]));
  const constants = Object.fromEntries(
    layers().map(({ name, dims }) => [
      name,
      graph.constant(tensor('float32', dims, parameters[name] as Float32Array), name),
    ]),
  );
  return convolved(graph, sums, cast(graph, attentionMask, 'float32'), constants);
}
