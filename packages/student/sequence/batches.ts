import { type TensorValue, tensor } from '@understudy/graph';
import type { EncodedTexts } from '../learner.ts';

/** More buckets pad less, but each is a model of its own: four of them pad texts of a narrow task by about a tenth. */
const BUCKET_QUANTILES = [0.5, 0.85, 0.97, 1];
/** Lengths are rounded up to a multiple of it. */
const LENGTH_STEP = 8;

/** The lengths, in tokens, that batches are padded to, ascending: quantiles of the lengths of texts. */
export function bucketLengths(lengths: readonly number[]): number[] {
  const sorted = lengths.toSorted((a, b) => a - b);
  const rounded = BUCKET_QUANTILES.map((share) => {
    const length = sorted[Math.ceil(share * sorted.length) - 1] ?? 0;
    return LENGTH_STEP * Math.max(1, Math.ceil(length / LENGTH_STEP));
  });
  return [...new Set(rounded)];
}

export type SequenceShape = {
  readonly batchTexts: number;
  readonly lengths: readonly number[];
  readonly padId: number;
};

/**
 * Texts as token ids in buckets of lengths: `tokens` int32 [batchTexts, length], and `token_mask` float32 of the same
 * shape, 1 for a token and 0 for padding. A text longer than the last bucket is cut.
 */
export function encodedSequences(texts: readonly ArrayLike<number>[], shape: SequenceShape): EncodedTexts {
  const { batchTexts, lengths, padId } = shape;
  const longest = lengths.at(-1) as number;
  const buffers = lengths.map((length) => ({
    tokens: new Int32Array(batchTexts * length),
    mask: new Float32Array(batchTexts * length),
  }));
  const features = (indices: ArrayLike<number>, bucket: number): Record<string, TensorValue> => {
    const { tokens, mask } = buffers[bucket] as (typeof buffers)[number];
    const length = lengths[bucket] as number;
    tokens.fill(padId);
    mask.fill(0);
    for (let slot = 0; slot < indices.length; slot++) {
      const ids = texts[indices[slot] as number] as ArrayLike<number>;
      const count = Math.min(ids.length, length);
      for (let i = 0; i < count; i++) tokens[slot * length + i] = ids[i] as number;
      mask.fill(1, slot * length, slot * length + count);
    }
    const dims = [batchTexts, length];
    return { tokens: tensor('int32', dims, tokens), token_mask: tensor('float32', dims, mask) };
  };
  const bucketOf = (ids: ArrayLike<number>): number =>
    lengths.findIndex((length) => Math.min(ids.length, longest) <= length);
  return { buckets: Uint8Array.from(texts, bucketOf), features };
}
