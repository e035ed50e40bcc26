import { cast, Graph, ints, reduceSum, reshape, scalar, serialize, tensor, type Value } from '@understudy/graph';
import type { Precision } from '../learner.ts';
import { ngramRows } from './hash.ts';
import type { BagHyperparameters } from './hyperparameters.ts';
import type { BagParameters } from './model.ts';

type Shape = Pick<BagHyperparameters, 'rows' | 'width'>;

/** Largest magnitude of a symmetric int8 number. */
const INT8_MAX = 127;

/**
 * Symmetric int8 with one scale for each column: value ≈ integer × scale. The scale of a column can be left out of the
 * sum over rows, so that the sum is exact in integers.
 */
export function quantizeColumns(table: Float32Array, width: number): { integers: Int8Array; scales: Float32Array } {
  const largest = new Float32Array(width);
  for (let i = 0; i < table.length; i++) {
    largest[i % width] = Math.max(largest[i % width] as number, Math.abs(table[i] as number));
  }
  const scales = largest.map((magnitude) => (magnitude > 0 ? magnitude / INT8_MAX : 1));
  const integers = Int8Array.from(table, (value, i) => Math.round(value / (scales[i % width] as number)));
  return { integers, scales };
}

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

/**
 * The whole student as an ONNX model with dynamic batch and sequence: byte ids and mask in, logits out, both as `logits`
 * and under `outputName`. Hashing included, it needs no code of ours to run.
 */
export function bagInferenceModel(
  shape: Shape,
  parameters: BagParameters,
  precision: Precision,
  outputName: string,
): Uint8Array {
  const graph = new Graph('bag');
  const inputIds = graph.input('input_ids', 'int64', ['batch', 'sequence']);
  const attentionMask = graph.input('attention_mask', 'int64', ['batch', 'sequence']);
  const { rows, valid } = ngramRows(graph, inputIds, attentionMask, shape.rows);
  const sum = precision === 'int8' ? int8Sums : floatSums;
  const { sums, scales } = sum(graph, rows, valid, parameters.table, shape);
  const labels = parameters.bias.length;
  const head = scaled(parameters.head, labels, scales);
  const logits = graph.node('Gemm', [
    graph.node('Mul', [sums, inverseRoot(graph, valid)]),
    graph.constant(tensor('float32', [shape.width, labels], head), 'head'),
    graph.constant(tensor('float32', [labels], parameters.bias), 'bias'),
  ]);
  graph.output('logits', logits);
  graph.output(outputName, logits);
  return serialize(graph);
}
