import { elementCount, type Graph, type ParameterSpec, quantizeWeights, serialize } from '@understudy/graph';
import type { Precision } from './learner.ts';

/** Smaller weights are nothing of a model's size, and may be much of its answer. */
const MIN_QUANTIZED_NUMBERS = 1_024;

/** A model's bytes, with its matrices and tables stored at a precision. */
export function modelAt(
  graph: Graph,
  parameters: readonly Pick<ParameterSpec, 'name' | 'dims'>[],
  precision: Precision,
): Uint8Array {
  if (precision === 'float32') return serialize(graph);
  const large = parameters.filter(({ dims }) => dims.length > 1 && elementCount(dims) >= MIN_QUANTIZED_NUMBERS);
  return serialize(
    quantizeWeights(
      graph,
      large.map(({ name }) => name),
    ),
  );
}
