import { type TensorValue, tensor } from '@understudy/graph';
import { epochBatches } from '../batches.ts';
import type { LoopSettings } from '../learner.ts';
import type { RowCache } from './rows.ts';

/** The static size of every batch of a training: its texts, room for their n-grams, and for the rows that these use. */
export type BatchShape = { readonly texts: number; readonly ngrams: number; readonly rows: number };

/** Counts a batch's n-grams and distinct rows; a row is counted once for each `stamp`. */
function measured(cache: RowCache, indices: ArrayLike<number>, seen: Int32Array, stamp: number): [number, number] {
  let [ngrams, rows] = [0, 0];
  for (let slot = 0; slot < indices.length; slot++) {
    const index = indices[slot] as number;
    const [start, end] = [cache.offsets[index] as number, cache.offsets[index + 1] as number];
    ngrams += end - start;
    for (let i = start; i < end; i++) {
      const row = cache.rows[i] as number;
      if (seen[row] !== stamp) rows += 1;
      seen[row] = stamp;
    }
  }
  return [ngrams, rows];
}

/** Room for every batch that the training will have, which its seed decides, and not more: rare long texts would cost all others. */
export function batchShapeFor(
  train: RowCache,
  dev: RowCache,
  { batchTexts, epochs }: LoopSettings,
  tableRows: number,
  seed: number,
  buckets: { readonly train: Uint8Array; readonly dev: Uint8Array },
): BatchShape {
  const seen = new Int32Array(tableRows);
  const shape = { texts: batchTexts, ngrams: 1, rows: 1 };
  let stamp = 0;
  const add = (cache: RowCache, indices: ArrayLike<number>): void => {
    const [ngrams, rows] = measured(cache, indices, seen, ++stamp);
    shape.ngrams = Math.max(shape.ngrams, ngrams);
    // One more for the row that room for n-grams without any points to.
    shape.rows = Math.max(shape.rows, rows + 1);
  };
  for (let epoch = 1; epoch <= epochs; epoch++) {
    for (const { indices } of epochBatches(buckets.train, batchTexts, seed, epoch)) add(train, indices);
  }
  for (const indices of Map.groupBy(buckets.dev.keys(), (text) => buckets.dev[text]).values()) {
    for (let start = 0; start < indices.length; start += batchTexts) add(dev, indices.slice(start, start + batchTexts));
  }
  return shape;
}

/**
 * Hashed texts as inputs of the graph: for each n-gram `rows` of the table, `slots` of its text in the batch, and
 * `ngram_weights`, 1/√count. Where there is room left it has no weight, and the table's last row, which is zero.
 */
export function encodedRows(
  cache: RowCache,
  shape: BatchShape,
  tableRows: number,
): (indices: ArrayLike<number>) => Record<string, TensorValue> {
  const rows = new Int32Array(shape.ngrams);
  const slots = new Int32Array(shape.ngrams);
  const weights = new Float32Array(shape.ngrams);
  return (indices) => {
    let at = 0;
    for (let slot = 0; slot < indices.length; slot++) {
      const index = indices[slot] as number;
      const [start, end] = [cache.offsets[index] as number, cache.offsets[index + 1] as number];
      const weight = 1 / Math.sqrt(Math.max(end - start, 1));
      for (let i = start; i < end; i++, at++) {
        rows[at] = cache.rows[i] as number;
        slots[at] = slot;
        weights[at] = weight;
      }
    }
    rows.fill(tableRows - 1, at);
    slots.fill(0, at);
    weights.fill(0, at);
    const dims = [shape.ngrams];
    return {
      rows: tensor('int32', dims, rows),
      slots: tensor('int32', dims, slots),
      ngram_weights: tensor('float32', dims, weights),
    };
  };
}
