import { cast, Graph, openSession, type Parameters, serialize, tensor, toRuntime } from '@understudy/graph';
import type { ParameterValues } from '../learner.ts';
import { MAX_TOKENS } from '../limits.ts';
import { padded } from '../padded.ts';
import { FeatureCache } from './feature-cache.ts';
import type { EncoderFolder } from './folder.ts';
import { features } from './head.ts';
import type { Trunk } from './trunk.ts';

/** Texts of one call, and the lengths they are padded to: fixed, so that a text's features do not depend on its neighbours. */
const TEXTS_PER_CALL = 32;
const LENGTH_STEP = 16;

/** An encoder's weights as constants of a graph. */
export const constantsOf = (graph: Graph, trunk: Trunk, weights: ParameterValues): Parameters =>
  Object.fromEntries(
    trunk.parameters.map(({ name, dims }) => [
      name,
      graph.constant(tensor('float32', dims, weights[name] as Float32Array), name),
    ]),
  );

function featureModel(trunk: Trunk, weights: ParameterValues, { pooling }: EncoderFolder): Uint8Array {
  const graph = new Graph('features');
  const ids = graph.input('input_ids', 'int64', ['batch', 'sequence']);
  const mask = cast(graph, graph.input('attention_mask', 'int64', ['batch', 'sequence']), 'float32');
  const states = trunk.emit(graph, ids, mask, constantsOf(graph, trunk, weights));
  graph.output('features', features(graph, states, mask, pooling));
  return serialize(graph);
}

export type FrozenOptions = {
  readonly threads: number;
  /** Where features are kept for the next training; in memory alone where absent. */
  readonly cacheFolder?: string;
  /** Looked at between two calls. */
  readonly signal?: AbortSignal;
};

/** The indices of texts in groups of one padded length, each group at most a call. */
function calls(
  texts: readonly ArrayLike<number>[],
  wanted: readonly number[],
): { length: number; indices: number[] }[] {
  const lengthOf = (index: number): number =>
    LENGTH_STEP * Math.max(1, Math.ceil((texts[index] as ArrayLike<number>).length / LENGTH_STEP));
  return [...Map.groupBy(wanted, lengthOf)].flatMap(([length, indices]) =>
    Array.from({ length: Math.ceil(indices.length / TEXTS_PER_CALL) }, (_, i) => ({
      length: Math.min(length, MAX_TOKENS),
      indices: indices.slice(i * TEXTS_PER_CALL, (i + 1) * TEXTS_PER_CALL),
    })),
  );
}

/** The first text of each sequence of tokens. */
function distinct(texts: readonly ArrayLike<number>[]): Map<string, number> {
  const first = new Map<string, number>();
  for (const [index, ids] of texts.entries()) {
    const key = Array.from(ids).join();
    if (!first.has(key)) first.set(key, index);
  }
  return first;
}

/** Asks the encoder for the features of some texts, and puts them into the cache. */
async function compute(
  folder: EncoderFolder,
  trunk: Trunk,
  weights: ParameterValues,
  texts: readonly ArrayLike<number>[],
  wanted: readonly number[],
  cache: FeatureCache,
  { threads, signal }: FrozenOptions,
): Promise<void> {
  const { width } = trunk;
  const session = await openSession(featureModel(trunk, weights, folder), { threads });
  try {
    for (const { length, indices } of calls(texts, wanted)) {
      signal?.throwIfAborted();
      const rows = Array.from({ length: TEXTS_PER_CALL }, (_, slot) => texts[indices[slot] ?? -1] ?? []);
      const { ids, mask } = padded(rows, folder.tokenizer.padId, length);
      const dims = [TEXTS_PER_CALL, length];
      const { features: output } = await session.run({
        input_ids: toRuntime(tensor('int64', dims, ids)),
        attention_mask: toRuntime(tensor('int64', dims, mask)),
      });
      const values = output?.data as Float32Array;
      await cache.add(
        indices.map((index, slot) => ({
          ids: texts[index] as ArrayLike<number>,
          features: values.slice(slot * width, (slot + 1) * width),
        })),
      );
    }
  } finally {
    await session.release();
  }
}

/**
 * What a frozen encoder gives for texts, [texts][width]; each text goes through it once, also over several trainings
 * where there is a cache folder.
 * @param texts token ids.
 */
export async function frozenFeatures(
  folder: EncoderFolder,
  trunk: Trunk,
  weights: ParameterValues,
  texts: readonly ArrayLike<number>[],
  { threads, cacheFolder, signal }: FrozenOptions,
): Promise<Float32Array[]> {
  const { width } = trunk;
  const cache = await FeatureCache.open(cacheFolder, folder.digest, width);
  const missing = [...distinct(texts).values()].filter((index) => !cache.get(texts[index] as ArrayLike<number>));
  if (missing.length > 0) await compute(folder, trunk, weights, texts, missing, cache, { threads, signal });
  return texts.map((ids) => cache.get(ids) as Float32Array);
}
