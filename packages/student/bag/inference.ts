import { cast, Graph, ints, reduceSum, reshape, scalar, serialize, tensor, type Value } from '@understudy/graph';
import type { Layout } from '../heads/layout.ts';
import { headParameters, linearHeads } from '../heads/linear.ts';
import type { HeadLogits } from '../heads/loss.ts';
import { putOutputs } from '../heads/outputs.ts';
import type { ParameterValues, Precision } from '../learner.ts';
import { type NgramRows, ngramRows } from './hash.ts';
import type { BagHyperparameters } from './hyperparameters.ts';
import type { BagParameters } from './model.ts';
import { quantizeColumns } from './quantize.ts';
import { finishedFeatures, HEAD } from './tagging.ts';

type Shape = Pick<BagHyperparameters, 'rows' | 'width'>;

/** Σ of each text's rows, as float32 [batch, width] in units of `scales`, and what to multiply the head's rows by. */
type Sums = { readonly sums: Value; readonly scales: Float32Array | undefined };

/** Gathers int8 rows and adds them up as integers: the mask of valid n-grams times the rows. */
function int8Sums(graph: Graph, rows: Value, valid: Value, table: Float32Array, { rows: count, width }: Shape): Sums {
  const { integers, scales } = quantizeColumns(table, width);
  const gathered = graph.node('Gather', [graph.constant(tensor('int8', [count, width], integers), 'table'), rows]);
  const product = graph.node('MatMulInteger', [graph.node('Unsqueeze', [valid, ints(graph, [1])]), gathered]);
  return { sums: reshape(graph, cast(graph, product, 'float32'), [-1, width]), scales };
}

function floatSums(graph: Graph, rows: Value, valid: Value, table: Float32Array, { rows: count, width }: Shape): Sums {
  const gathered = graph.node('Gather', [graph.constant(tensor('float32', [count, width], table), 'table'), rows]);
  const mask = graph.node('Unsqueeze', [cast(graph, valid, 'float32'), ints(graph, [1])]);
  return { sums: reshape(graph, graph.node('MatMul', [mask, gathered]), [-1, width]), scales: undefined };
}

/** 1/√count of each text's n-grams, [batch, 1]; 1 for a text without any. */
function inverseRoot(graph: Graph, valid: Value): Value {
  const one = graph.constant(scalar('float32', 1));
  const count = reduceSum(graph, cast(graph, valid, 'float32'), [1], 1);
  return graph.node('Div', [one, graph.node('Sqrt', [graph.node('Max', [count, one])])]);
}

/** The head's rows times the scales of the columns that they read. */
const scaled = (head: Float32Array, labels: number, scales: Float32Array | undefined): Float32Array =>
  scales ? head.map((value, i) => value * (scales[Math.floor(i / labels)] as number)) : head;

/** The logits of a text: its rows' sum over the root of their count, then the head. */
function textLogits(
  graph: Graph,
  { rows, valid }: NgramRows,
  shape: Shape,
  { table, head, bias }: BagParameters,
  precision: Precision,
): Value {
  const sum = precision === 'int8' ? int8Sums : floatSums;
  const { sums, scales } = sum(graph, rows, valid, table, shape);
  const labels = bias.length;
  return graph.node('Gemm', [
    graph.node('Mul', [sums, inverseRoot(graph, valid)]),
    graph.constant(tensor('float32', [shape.width, labels], scaled(head, labels, scales)), 'head'),
    graph.constant(tensor('float32', [labels], bias), 'bias'),
  ]);
}

/** The logits of each byte. */
function byteLogits(
  graph: Graph,
  ngrams: NgramRows,
  attentionMask: Value,
  layout: Layout,
  parameters: ParameterValues,
  precision: Precision,
): HeadLogits {
  const features = finishedFeatures(graph, ngrams, attentionMask, parameters, precision);
  const own = { ...layout, textWidth: 0 };
  const head = headParameters(HEAD, own, { texts: 0, tokens: features.shape[2] as number }).map(({ name, dims }) => [
    name,
    graph.constant(tensor('float32', dims, parameters[name] as Float32Array), name),
  ]);
  return linearHeads(graph, HEAD, own, { tokens: () => features }, Object.fromEntries(head));
}

/**
 * The whole student as an ONNX model with dynamic batch and sequence: byte ids and mask in, the logits of all heads out.
 * Hashing included, it needs no code of ours to run.
 * @param parameters by name, tables with all of their rows
 */
export function bagInferenceModel(
  shape: Shape,
  layout: Layout,
  parameters: ParameterValues,
  precision: Precision,
): Uint8Array {
  const graph = new Graph('bag');
  const inputIds = graph.input('input_ids', 'int64', ['batch', 'sequence']);
  const attentionMask = graph.input('attention_mask', 'int64', ['batch', 'sequence']);
  const ngrams = ngramRows(graph, inputIds, attentionMask, shape.rows);
  const { textWidth, tokenWidth } = layout;
  putOutputs(graph, layout, {
    ...(textWidth > 0 && { texts: textLogits(graph, ngrams, shape, parameters as BagParameters, precision) }),
    ...(tokenWidth > 0 && byteLogits(graph, ngrams, attentionMask, layout, parameters, precision)),
  });
  return serialize(graph);
}
