import { createCipheriv, createHash } from 'node:crypto';

/**
 * Random bytes that depend on seed and purpose alone: the AES-256-CTR key stream under SHA-256 of both. The same on
 * every machine, independent between purposes, and fast enough for tables of millions of weights.
 */
function seededBytes(seed: number, purpose: string, length: number): Buffer {
  const key = createHash('sha256').update(`${seed}\n${purpose}`).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length));
}

/** Values uniform in [−bound, bound). */
export function seededUniform(seed: number, purpose: string, length: number, bound: number): Float32Array {
  const bytes = seededBytes(seed, purpose, 4 * length);
  return Float32Array.from({ length }, (_, i) => (bytes.readUInt32LE(4 * i) / 2 ** 31 - 1) * bound);
}

/** A permutation of 0 … length − 1 (Fisher–Yates; the bias of a 48-bit remainder is below 2⁻²⁰ for any length here). */
export function seededOrder(seed: number, purpose: string, length: number): Uint32Array {
  const bytes = seededBytes(seed, purpose, 6 * length);
  const order = Uint32Array.from({ length }, (_, i) => i);
  for (let last = length - 1; last > 0; last--) {
    const drawn = bytes.readUIntLE(6 * last, 6) % (last + 1);
    [order[last], order[drawn]] = [order[drawn] as number, order[last] as number];
  }
  return order;
}
