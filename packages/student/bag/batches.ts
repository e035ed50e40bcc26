import { type TensorValue, tensor } from '@understudy/graph';
import type { EncodedTexts } from '../learner.ts';
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

/** Hashed texts as inputs of the graph: the cells of a [texts, rows] matrix that a batch's n-grams fall into, and their weights. */
export function encodedRows(cache: RowCache, shape: BatchShape, tableRows: number): EncodedTexts {
  const cells = new Int32Array(shape.ngrams);
  const weights = new Float32Array(shape.ngrams);
  const features = (indices: ArrayLike<number>): Record<string, TensorValue> => {
    cells.fill(0);
    weights.fill(0);
    let at = 0;
    for (let slot = 0; slot < indices.length; slot++) {
      const index = indices[slot] as number;
      const [start, end] = [cache.offsets[index] as number, cache.offsets[index + 1] as number];
      const weight = 1 / Math.sqrt(Math.max(end - start, 1));
      for (let i = start; i < end; i++, at++) {
        cells[at] = slot * tableRows + (cache.rows[i] as number);
        weights[at] = weight;
      }
    }
    const dims = [shape.ngrams];
    return { cells: tensor('int32', dims, cells), ngram_weights: tensor('float32', dims, weights) };
  };
  return { buckets: new Uint8Array(cache.offsets.length - 1), features };
}
