import {
  Graph,
  type ParameterSpec,
  reshape,
  serialize,
  softCrossEntropy,
  type TrainingStep,
  trainingStep,
  type Value,
  zerosOf,
} from '@understudy/graph';
import { seededUniform } from '../random.ts';
import type { BatchShape } from './batches.ts';
import type { BagHyperparameters } from './hyperparameters.ts';

/** The tensors of a student: `table` [rows, width], `head` [width, labels], `bias` [labels], row-major. */
export type BagParameters = { readonly table: Float32Array; readonly head: Float32Array; readonly bias: Float32Array };

const ADAM_W = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };

/** The sizes of what is trained: rows of the table that train texts use, one row of zeros, and labels. */
export type TrainedShape = { readonly usedRows: number; readonly labels: number };

export const tableRowsOf = ({ usedRows }: TrainedShape): number => usedRows + 1;

export const parameterSpecs = ({ width }: BagHyperparameters, shape: TrainedShape): ParameterSpec[] => [
  { name: 'table', dims: [tableRowsOf(shape), width], decay: false },
  { name: 'head', dims: [width, shape.labels], decay: true },
  { name: 'bias', dims: [shape.labels], decay: false },
];

/** Table: small and uniform, the last row zero. Head: Glorot and Bengio 2010. Bias: zero. */
export function initialParameters(hyper: BagHyperparameters, shape: TrainedShape, seed: number): BagParameters {
  const { width, tableBound } = hyper;
  const { labels } = shape;
  const table = seededUniform(seed, 'table', tableRowsOf(shape) * width, tableBound);
  return {
    table: table.fill(0, shape.usedRows * width),
    head: seededUniform(seed, 'head', width * labels, Math.sqrt(6 / (width + labels))),
    bias: new Float32Array(labels),
  };
}

type Parameters = Readonly<Record<keyof BagParameters, Value>>;

/**
 * Texts as weighted sums of table rows, then the head. The sums are one product of a [texts, rows] matrix of n-gram
 * weights and the table: scattering a batch's few thousand weights into that matrix costs far less than gathering, and
 * in the backward pass scattering, as many rows of the table (DESIGN.md has the figures).
 */
function logits(graph: Graph, parameters: Parameters, cells: Value, weights: Value, texts: number): Value {
  const [rows] = parameters.table.shape as readonly number[];
  const empty = zerosOf(graph, 'float32', [texts * (rows as number)]);
  const bags = graph.node('ScatterElements', [empty, cells, weights], { axis: 0, reduction: 'add' });
  const sums = graph.node('Gemm', [reshape(graph, bags, [texts, rows as number]), parameters.table]);
  return graph.node('Gemm', [sums, parameters.head, parameters.bias]);
}

const ngramInputs = (graph: Graph, shape: BatchShape): { cells: Value; weights: Value } => ({
  cells: graph.input('cells', 'int32', [shape.ngrams]),
  weights: graph.input('ngram_weights', 'float32', [shape.ngrams]),
});

/** One step of training, for batches of exactly this shape. */
export function bagTrainingStep(hyper: BagHyperparameters, trained: TrainedShape, shape: BatchShape): TrainingStep {
  return trainingStep({
    name: 'bag-training-step',
    parameters: parameterSpecs(hyper, trained),
    adamW: { ...ADAM_W, weightDecay: hyper.weightDecay },
    loss: (graph, parameters, clock) => {
      const { cells, weights } = ngramInputs(graph, shape);
      const mask = clock.mask('ngrams', [shape.ngrams], hyper.dropout);
      const kept = graph.node('Mul', [weights, mask]);
      return softCrossEntropy(
        graph,
        logits(graph, parameters as Parameters, cells, kept, shape.texts),
        graph.input('targets', 'float32', [shape.texts, trained.labels]),
        graph.input('example_weights', 'float32', [shape.texts]),
        hyper.labelSmoothing,
      );
    },
  });
}

/** The forward pass alone, with parameters as inputs: for looking at dev between epochs. */
export function bagForwardModel(hyper: BagHyperparameters, trained: TrainedShape, shape: BatchShape): Uint8Array {
  const graph = new Graph('bag-forward');
  const parameters = Object.fromEntries(
    parameterSpecs(hyper, trained).map(({ name, dims }) => [name, graph.input(name, 'float32', dims)] as const),
  );
  const { cells, weights } = ngramInputs(graph, shape);
  graph.output('logits', logits(graph, parameters as Parameters, cells, weights, shape.texts));
  return serialize(graph);
}
