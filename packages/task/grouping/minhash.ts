/**
 * MinHash signatures of texts: how alike two texts are, from 128 bytes of each.
 *
 * A text becomes the set of its character 5-grams. The Jaccard similarity of two sets (shared / all) is about the share
 * of signature bins in which they agree (Broder 1997). One hash a gram fills all bins (one-permutation hashing, Li, Owen
 * & Zhang 2012); bins that stay empty copy a filled one, searched from a place and with a step that depend on the bin
 * alone (densification after Shrivastava 2017). Bins keep their lowest 8 bits (b-bit minwise hashing, Li & König 2010).
 */

/** Bins of a signature: the standard error of a similarity is at most 0.5/√128 = 0.045. */
export const SIGNATURE_BINS = 128;
/** Characters of a gram: long enough that two texts of one language share few by chance. */
const GRAM = 5;
const EMPTY = 0xffff_ffff;
/** Base of the rolling hash over 32-bit integers, and its power that a leaving character carries. */
const BASE = 0x0100_0193;
const BASE_TO_GRAM = Array.from({ length: GRAM }).reduce<number>((power) => Math.imul(power, BASE), 1);
/** Two bins that differ agree in their lowest 8 bits this often. */
const CHANCE = 1 / 256;

const scratch = new Uint32Array(SIGNATURE_BINS);
const filled = new Uint8Array(SIGNATURE_BINS);
const start = Uint8Array.from({ length: SIGNATURE_BINS }, (_, bin) => mix(bin + 1) % SIGNATURE_BINS);
/** Odd, hence coprime to 128: a search meets every bin. */
const step = Uint8Array.from({ length: SIGNATURE_BINS }, (_, bin) => (mix(bin + 0x1234_5678) % SIGNATURE_BINS) | 1);

/** A text with all that cannot matter folded: case, spacing, compatibility forms. */
export function foldText(text: string): string {
  return text.normalize('NFKC').toLowerCase().replace(/\s+/g, ' ').trim();
}

/** 53-bit hash of a folded text: equal for equal texts; two others collide with probability 2⁻⁵³. */
export function textHash(folded: string): number {
  let low = 0x9e37_79b9;
  let high = 0x85eb_ca6b;
  for (let i = 0; i < folded.length; i++) {
    const unit = folded.charCodeAt(i);
    low = Math.imul(low ^ unit, 0x0100_0193);
    low ^= low >>> 15;
    high = Math.imul(high ^ unit, 0x5bd1_e995);
    high ^= high >>> 13;
  }
  return mix(high) * 0x20_0000 + (mix(low) >>> 11);
}

/** The full signature of a folded text, in a buffer that the next call overwrites. 128 values below 2²⁵. */
export function minHash(folded: string): Uint32Array {
  scratch.fill(EMPTY);
  // The rolling polynomial hash of the last GRAM characters; a text shorter than a gram is padded with zero units.
  const length = Math.max(GRAM, folded.length);
  let gram = 0;
  for (let end = 0; end < length; end++) {
    const leaving = end < GRAM ? 0 : folded.charCodeAt(end - GRAM);
    gram = (Math.imul(gram, BASE) + (folded.charCodeAt(end) | 0) - Math.imul(leaving, BASE_TO_GRAM)) | 0;
    if (end < GRAM - 1) continue;
    const hash = mix(gram);
    const bin = hash & (SIGNATURE_BINS - 1);
    const rank = hash >>> 7;
    if (rank < scratch[bin]!) scratch[bin] = rank;
  }
  return densify(scratch);
}

/** Similarity of two signatures of which 8 bits a bin were kept, from the number of bins that agree; 0..1. */
export function similarityOf(agreeing: number): number {
  return Math.max(0, (agreeing / SIGNATURE_BINS - CHANCE) / (1 - CHANCE));
}

/** Copied bins are marked until the end, so that a copy is never copied. */
function densify(bins: Uint32Array): Uint32Array {
  for (let bin = 0; bin < SIGNATURE_BINS; bin++) filled[bin] = bins[bin] === EMPTY ? 0 : 1;
  for (let bin = 0; bin < SIGNATURE_BINS; bin++) {
    if (filled[bin] === 1) continue;
    let other = start[bin]!;
    while (filled[other] === 0) other = (other + step[bin]!) % SIGNATURE_BINS;
    bins[bin] = bins[other]!;
  }
  return bins;
}

/** A bijection of 32-bit integers in which every bit of the result depends on every bit of `value` (MurmurHash3's end). */
export function mix(value: number): number {
  let hash = value | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
