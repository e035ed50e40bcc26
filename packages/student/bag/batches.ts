import { type TensorValue, tensor } from '@understudy/graph';
import type { Example } from '../examples.ts';
import type { RowCache } from './rows.ts';

/** The static size of every batch of a training. */
export type BatchShape = { readonly texts: number; readonly ngrams: number };

const ngramCounts = ({ offsets }: RowCache): number[] =>
  offsets.slice(1).map((end, text) => end - (offsets[text] as number));

/** Room for `texts` texts of any of the caches, however they are put together: their largest counts, added up. */
export function batchShapeFor(caches: readonly RowCache[], texts: number): BatchShape {
  const largest = (cache: RowCache): number =>
    ngramCounts(cache)
      .sort((a, b) => b - a)
      .slice(0, texts)
      .reduce((sum, count) => sum + count, 0);
  return { texts, ngrams: Math.max(1, ...caches.map(largest)) };
}

/** One batch as the inputs of the graph, in buffers that the next batch overwrites. */
export class Batch {
  readonly shape: BatchShape;
  readonly #tableRows: number;
  readonly #cells: Int32Array;
  readonly #weights: Float32Array;
  readonly #targets: Float32Array;
  readonly #exampleWeights: Float32Array;

  constructor(shape: BatchShape, tableRows: number, labels: number) {
    this.shape = shape;
    this.#tableRows = tableRows;
    this.#cells = new Int32Array(shape.ngrams);
    this.#weights = new Float32Array(shape.ngrams);
    this.#targets = new Float32Array(shape.texts * labels);
    this.#exampleWeights = new Float32Array(shape.texts);
  }

  /** Puts in the texts of some indices; fewer than a whole batch leave the rest as rows without weight. */
  fill(cache: RowCache, examples: readonly Example[], indices: ArrayLike<number>): void {
    this.#cells.fill(0);
    this.#weights.fill(0);
    this.#targets.fill(0);
    this.#exampleWeights.fill(0);
    const labels = this.#targets.length / this.shape.texts;
    let at = 0;
    for (let slot = 0; slot < indices.length; slot++) {
      const index = indices[slot] as number;
      const [start, end] = [cache.offsets[index] as number, cache.offsets[index + 1] as number];
      const weight = 1 / Math.sqrt(Math.max(end - start, 1));
      for (let i = start; i < end; i++, at++) {
        this.#cells[at] = slot * this.#tableRows + (cache.rows[i] as number);
        this.#weights[at] = weight;
      }
      const example = examples[index] as Example;
      this.#targets.set(example.target, slot * labels);
      this.#exampleWeights[slot] = example.weight;
    }
  }

  /** The inputs of the forward pass. */
  get features(): Record<string, TensorValue> {
    const dims = [this.shape.ngrams];
    return { cells: tensor('int32', dims, this.#cells), ngram_weights: tensor('float32', dims, this.#weights) };
  }

  /** The inputs of a training step. */
  get all(): Record<string, TensorValue> {
    const labels = this.#targets.length / this.shape.texts;
    return {
      ...this.features,
      targets: tensor('float32', [this.shape.texts, labels], this.#targets),
      example_weights: tensor('float32', [this.shape.texts], this.#exampleWeights),
    };
  }
}
