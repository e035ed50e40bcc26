/**
 * Which stored texts are near-duplicates of a new one: locality-sensitive hashing over MinHash signatures.
 *
 * A signature is cut into 20 bands of 5 bins; texts that share a band are candidates, and candidates are compared bin by
 * bin. A pair of similarity s meets with probability 1 − (1 − s⁵)²⁰: 0.999 at 0.8, 0.975 at 0.7, 0.47 at 0.5.
 */
import { minHash, mix, SIGNATURE_BINS, similarityOf } from './minhash.ts';

/** Texts at least this alike are near-duplicates: a mail and the same mail with another greeting or date. */
export const NEAR_DUPLICATE_SIMILARITY = 0.7;
const BANDS = 20;
const ROWS = 5;
const WORDS = SIGNATURE_BINS / 4;
/** Members looked at in one band, newest first: a phrase that thousands of texts share must not cost thousands of comparisons. */
const MAX_CANDIDATES_PER_BAND = 32;
const INITIAL_TEXTS = 1024;
/** A power of two, for the mask. */
const INITIAL_SLOTS = 65_536;

/** Texts as consecutive numbers, from 0, with their signatures in flat arrays: about 0.4 KB a text. */
export class Neighbours {
  #size = 0;
  /** Signatures, four bins a word. */
  #words = new Int32Array(INITIAL_TEXTS * WORDS);
  /** The text before in the same band bucket, plus one; 0 ends a chain. Per text, one a band. */
  #next = new Int32Array(INITIAL_TEXTS * BANDS);
  /** Open addressing: band key → newest text of the bucket, plus one. */
  #keys = new Uint32Array(INITIAL_SLOTS);
  #heads = new Int32Array(INITIAL_SLOTS);
  #buckets = 0;
  /** The last search that met a text, so that it is compared once though it shares several bands. */
  #met = new Uint32Array(INITIAL_TEXTS);
  #search = 0;
  readonly #bandKeys = new Uint32Array(BANDS);
  readonly #signature = new Uint8Array(SIGNATURE_BINS);
  readonly #signatureWords = new Int32Array(this.#signature.buffer);

  get size(): number {
    return this.#size;
  }

  /** Calls `found` for each near-duplicate of a folded text met so far; then `add()` may store the text itself. */
  search(folded: string, found: (text: number, similarity: number) => void): void {
    this.#sign(folded);
    this.#search += 1;
    for (let band = 0; band < BANDS; band++) {
      let text = this.#heads[this.#slotOf(this.#bandKeys[band]!)]! - 1;
      for (let seen = 0; text >= 0 && seen < MAX_CANDIDATES_PER_BAND; seen++) {
        if (this.#met[text] !== this.#search) {
          this.#met[text] = this.#search;
          const similarity = this.#similarityTo(text);
          if (similarity >= NEAR_DUPLICATE_SIMILARITY) found(text, similarity);
        }
        text = this.#next[text * BANDS + band]! - 1;
      }
    }
  }

  /** Stores the text of the last search; returns its number. */
  add(): number {
    if (this.#size * WORDS === this.#words.length) this.#growTexts();
    const text = this.#size++;
    this.#words.set(this.#signatureWords, text * WORDS);
    for (let band = 0; band < BANDS; band++) this.#link(text, band, this.#bandKeys[band]!);
    return text;
  }

  #sign(folded: string): void {
    const ranks = minHash(folded);
    for (let band = 0; band < BANDS; band++) {
      let key = band + 1;
      for (let row = band * ROWS; row < (band + 1) * ROWS; row++) key = mix(key ^ ranks[row]!);
      this.#bandKeys[band] = key;
    }
    for (let bin = 0; bin < SIGNATURE_BINS; bin++) this.#signature[bin] = ranks[bin]!;
  }

  /** Compares four bins at once: a byte of `differing` counts those of its lane that differ. */
  #similarityTo(text: number): number {
    const from = text * WORDS;
    let differing = 0;
    for (let word = 0; word < WORDS; word++) {
      const difference = this.#words[from + word]! ^ this.#signatureWords[word]!;
      differing += ((((difference & 0x7f7f_7f7f) + 0x7f7f_7f7f) | difference) & 0x8080_8080) >>> 7;
    }
    const lanes = (differing & 0xff) + ((differing >>> 8) & 0xff) + ((differing >>> 16) & 0xff) + (differing >>> 24);
    return similarityOf(SIGNATURE_BINS - lanes);
  }

  /** Where the key's bucket is, or would be. */
  #slotOf(key: number): number {
    const mask = this.#keys.length - 1;
    let slot = key & mask;
    while (this.#heads[slot] !== 0 && this.#keys[slot] !== key) slot = (slot + 1) & mask;
    return slot;
  }

  #link(text: number, band: number, key: number): void {
    if (this.#buckets * 2 >= this.#keys.length) this.#growBuckets();
    const slot = this.#slotOf(key);
    if (this.#heads[slot] === 0) this.#buckets += 1;
    this.#keys[slot] = key;
    this.#next[text * BANDS + band] = this.#heads[slot]!;
    this.#heads[slot] = text + 1;
  }

  #growTexts(): void {
    this.#words = doubled(this.#words, Int32Array);
    this.#next = doubled(this.#next, Int32Array);
    this.#met = doubled(this.#met, Uint32Array);
  }

  #growBuckets(): void {
    const [keys, heads] = [this.#keys, this.#heads];
    this.#keys = new Uint32Array(keys.length * 2);
    this.#heads = new Int32Array(keys.length * 2);
    for (let old = 0; old < keys.length; old++) {
      if (heads[old] === 0) continue;
      const slot = this.#slotOf(keys[old]!);
      this.#keys[slot] = keys[old]!;
      this.#heads[slot] = heads[old]!;
    }
  }
}

function doubled<A extends { readonly length: number; set(from: A): void }>(
  array: A,
  Type: new (length: number) => A,
): A {
  const larger = new Type(array.length * 2);
  larger.set(array);
  return larger;
}
