import { seededOrder } from './random.ts';

/** Texts of one step, by index; all of one bucket. */
export type Batch = { readonly bucket: number; readonly indices: Uint32Array };

/** How many steps an epoch has: every bucket's last batch may be smaller. */
export function batchesPerEpoch(buckets: Uint8Array, batchTexts: number): number {
  const counts = new Map<number, number>();
  for (const bucket of buckets) counts.set(bucket, (counts.get(bucket) ?? 0) + 1);
  return [...counts.values()].reduce((sum, count) => sum + Math.ceil(count / batchTexts), 0);
}

/**
 * The batches of an epoch: texts in an order that depends on seed and epoch alone, each put with those of its own bucket
 * before it; a batch comes when it is full, what is left over at the end.
 */
export function epochBatches(buckets: Uint8Array, batchTexts: number, seed: number, epoch: number): Batch[] {
  const open = new Map<number, number[]>();
  const batches: Batch[] = [];
  const close = (bucket: number, indices: readonly number[]): void => {
    batches.push({ bucket, indices: Uint32Array.from(indices) });
    open.delete(bucket);
  };
  for (const index of seededOrder(seed, `epoch ${epoch}`, buckets.length)) {
    const bucket = buckets[index] as number;
    const indices = open.get(bucket) ?? [];
    indices.push(index);
    open.set(bucket, indices);
    if (indices.length === batchTexts) close(bucket, indices);
  }
  for (const [bucket, indices] of [...open].toSorted(([a], [b]) => a - b)) close(bucket, indices);
  return batches;
}
