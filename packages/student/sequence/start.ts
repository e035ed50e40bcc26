import { cast, type Dropout, type Graph, type LayerParameter, type Value } from '@understudy/graph';
import type { ParameterValues } from '../learner.ts';
import { seededUniform } from '../random.ts';

/** Values that a layer's parameters start with; the draw depends on seed and name alone. */
export const startValues = (parameters: readonly LayerParameter[], seed: number): ParameterValues =>
  Object.fromEntries(
    parameters.map(({ name, dims, start }) => {
      const count = dims.reduce((product, dim) => product * dim, 1);
      const values =
        'constant' in start
          ? new Float32Array(count).fill(start.constant)
          : seededUniform(seed, name, count, start.bound);
      return [name, values] as const;
    }),
  );

/** A mask of tokens without those that are dropped. */
export function keptTokens(graph: Graph, mask: Value, dropped: Dropout | undefined): Value {
  if (!dropped || dropped.rate === 0) return mask;
  const drawn = dropped.mask('tokens', mask.shape as readonly number[], dropped.rate);
  return graph.node('Mul', [mask, cast(graph, cast(graph, drawn, 'bool'), 'float32')]);
}
