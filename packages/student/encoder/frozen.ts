import { cast, Graph, openSession, type Parameters, serialize, tensor, toRuntime } from '@understudy/graph';
import { TrainingError } from '../errors.ts';
import type { ParameterValues } from '../learner.ts';
import { MAX_STATE_BYTES } from '../limits.ts';
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

/** What is wanted of an encoder: a vector of each text, or one of each of its tokens. */
type Wanted = 'texts' | 'tokens';

function featureModel(trunk: Trunk, weights: ParameterValues, { pooling }: EncoderFolder, what: Wanted): Uint8Array {
  const graph = new Graph('features');
  const ids = graph.input('input_ids', 'int64', ['batch', 'sequence']);
  const mask = cast(graph, graph.input('attention_mask', 'int64', ['batch', 'sequence']), 'float32');
  const states = trunk.emit(graph, ids, mask, constantsOf(graph, trunk, weights));
  const { texts, tokens } = features(graph, states, mask, pooling);
  graph.output('features', what === 'texts' ? texts : tokens());
  return serialize(graph);
}

export type FrozenOptions = {
  readonly threads: number;
  /** Where features are kept for the next training; in memory alone where absent. */
  readonly cacheFolder?: string;
  /** Told once why that folder is not used any more. */
  readonly onCacheLost?: (error: Error) => void;
  /** Looked at between two calls. */
  readonly signal?: AbortSignal;
};

/** The indices of texts in groups of one padded length, each group at most a call. */
function calls(
  texts: readonly ArrayLike<number>[],
  wanted: readonly number[],
  maxTokens: number,
): { length: number; indices: number[] }[] {
  const lengthOf = (index: number): number =>
    LENGTH_STEP * Math.max(1, Math.ceil((texts[index] as ArrayLike<number>).length / LENGTH_STEP));
  return [...Map.groupBy(wanted, lengthOf)].flatMap(([length, indices]) =>
    Array.from({ length: Math.ceil(indices.length / TEXTS_PER_CALL) }, (_, i) => ({
      length: Math.min(length, maxTokens),
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

/** Asks the encoder for some texts, call by call. @param take is given the vectors [TEXTS_PER_CALL, …] of the call's texts */
async function ask(
  { folder, trunk, weights }: FrozenEncoder,
  what: Wanted,
  texts: readonly ArrayLike<number>[],
  wanted: readonly number[],
  { threads, signal }: FrozenOptions,
  take: (indices: readonly number[], vectors: Float32Array) => Promise<void> | void,
): Promise<void> {
  const session = await openSession(featureModel(trunk, weights, folder, what), { threads });
  try {
    for (const { length, indices } of calls(texts, wanted, folder.maxTokens)) {
      signal?.throwIfAborted();
      const rows = Array.from({ length: TEXTS_PER_CALL }, (_, slot) => texts[indices[slot] ?? -1] ?? []);
      const { ids, mask } = padded(rows, folder.tokenizer.padId, length);
      const dims = [TEXTS_PER_CALL, length];
      const { features: output } = await session.run({
        input_ids: toRuntime(tensor('int64', dims, ids)),
        attention_mask: toRuntime(tensor('int64', dims, mask)),
      });
      await take(indices, output?.data as Float32Array);
    }
  } finally {
    await session.release();
  }
}

/** What is asked: an encoder, with the trunk and the weights that were read from its folder. */
export type FrozenEncoder = {
  readonly folder: EncoderFolder;
  readonly trunk: Trunk;
  readonly weights: ParameterValues;
};

/**
 * What a frozen encoder gives for texts, [texts][width]; each text goes through it once, also over several trainings
 * where there is a cache folder.
 * @param texts token ids.
 */
export async function frozenFeatures(
  encoder: FrozenEncoder,
  texts: readonly ArrayLike<number>[],
  options: FrozenOptions,
): Promise<Float32Array[]> {
  const { folder, trunk } = encoder;
  const { width } = trunk;
  const cache = await FeatureCache.open(options.cacheFolder, folder.digest, width, options.onCacheLost);
  const missing = [...distinct(texts).values()].filter((index) => !cache.get(texts[index] as ArrayLike<number>));
  if (missing.length > 0) {
    await ask(encoder, 'texts', texts, missing, options, (indices, vectors) =>
      cache.add(
        indices.map((index, slot) => ({
          ids: texts[index] as ArrayLike<number>,
          features: vectors.slice(slot * width, (slot + 1) * width),
        })),
      ),
    );
  }
  return texts.map((ids) => cache.get(ids) as Float32Array);
}

/**
 * What a frozen encoder gives for the tokens of texts, [texts][tokens × width]; in memory alone.
 * @param texts token ids.
 * @throws TrainingError `too-large` when there is no room for all of them.
 */
export async function frozenStates(
  encoder: FrozenEncoder,
  texts: readonly ArrayLike<number>[],
  options: FrozenOptions,
): Promise<Float32Array[]> {
  const { width } = encoder.trunk;
  const numbers = texts.reduce((sum, { length }) => sum + length * width, 0);
  if (numbers * Float32Array.BYTES_PER_ELEMENT > MAX_STATE_BYTES) {
    throw new TrainingError(
      'too-large',
      `the states of all tokens of ${texts.length} texts take more than ${MAX_STATE_BYTES} bytes; train on fewer or ` +
        'shorter ones, or on another family',
    );
  }
  const states = new Array<Float32Array>(texts.length);
  await ask(encoder, 'tokens', texts, [...texts.keys()], options, (indices, vectors) => {
    const perText = vectors.length / TEXTS_PER_CALL;
    for (const [slot, index] of indices.entries()) {
      const count = (texts[index] as ArrayLike<number>).length * width;
      states[index] = vectors.slice(slot * perText, slot * perText + count);
    }
  });
  return states;
}
