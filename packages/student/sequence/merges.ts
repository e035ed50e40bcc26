/** A merge of byte-pair encoding: the token that two neighbouring tokens become. */
export type Merge = { readonly left: string; readonly right: string };

/** How often a pair of tokens stands side by side, and in which words. */
type Pair = { readonly left: string; readonly right: string; count: number; readonly words: Set<Word> };

type Word = { tokens: string[]; readonly count: number };

/** A separator that is in no token: byte-level tokens have no control characters. */
const keyOf = (left: string, right: string): string => `${left}\0${right}`;

/** Which pair is merged first: the more frequent one; of equals the one that sorts first, so that it is always the same. */
const before = (a: Pair, b: Pair, countA: number, countB: number): boolean =>
  countA !== countB ? countA > countB : keyOf(a.left, a.right) < keyOf(b.left, b.right);

/** A binary heap of pairs with the counts that they had when they were put in; a pair whose count changed is put in again. */
class PairHeap {
  readonly #entries: { pair: Pair; count: number }[] = [];

  push(pair: Pair): void {
    const entries = this.#entries;
    let at = entries.push({ pair, count: pair.count }) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#isBefore(at, parent)) break;
      this.#swap(at, parent);
      at = parent;
    }
  }

  /** The pair that comes first by its count of now, or undefined when none is left. */
  pop(): Pair | undefined {
    for (;;) {
      const top = this.#entries[0];
      const last = this.#entries.pop();
      if (!top || !last) return undefined;
      if (top !== last) {
        this.#entries[0] = last;
        this.#sink();
      }
      if (top.count === top.pair.count) return top.pair;
    }
  }

  #sink(): void {
    for (let at = 0; ; ) {
      let first = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < this.#entries.length && this.#isBefore(child, first)) first = child;
      }
      if (first === at) return;
      this.#swap(at, first);
      at = first;
    }
  }

  #isBefore(i: number, j: number): boolean {
    const [a, b] = [this.#entries[i], this.#entries[j]] as [
      { pair: Pair; count: number },
      { pair: Pair; count: number },
    ];
    return before(a.pair, b.pair, a.count, b.count);
  }

  #swap(i: number, j: number): void {
    const entries = this.#entries as { pair: Pair; count: number }[];
    [entries[i], entries[j]] = [
      entries[j] as { pair: Pair; count: number },
      entries[i] as { pair: Pair; count: number },
    ];
  }
}

/** Counts of all pairs, kept up to date while words change. */
class PairCounts {
  readonly #pairs = new Map<string, Pair>();
  readonly #heap = new PairHeap();
  readonly #changed = new Set<Pair>();

  /** Adds (`sign` 1) or takes away (−1) all pairs of a word. */
  count(word: Word, sign: 1 | -1): void {
    for (let i = 1; i < word.tokens.length; i++) {
      const [left, right] = [word.tokens[i - 1] as string, word.tokens[i] as string];
      const key = keyOf(left, right);
      const pair = this.#pairs.get(key) ?? { left, right, count: 0, words: new Set<Word>() };
      this.#pairs.set(key, pair);
      pair.count += sign * word.count;
      if (sign > 0) pair.words.add(word);
      this.#changed.add(pair);
    }
  }

  /** The most frequent pair. */
  next(): Pair | undefined {
    for (const pair of this.#changed) if (pair.count > 0) this.#heap.push(pair);
    this.#changed.clear();
    return this.#heap.pop();
  }
}

function merged(tokens: readonly string[], { left, right }: Merge): string[] {
  const result: string[] = [];
  for (let i = 0; i < tokens.length; i++) {
    const isPair = tokens[i] === left && tokens[i + 1] === right;
    result.push(isPair ? left + right : (tokens[i] as string));
    if (isPair) i++;
  }
  return result;
}

/** A pair that stands in fewer places teaches nothing that its parts do not. */
const MIN_COUNT = 2;

/**
 * Learns the merges of byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909): again and again, the most frequent
 * pair of neighbouring tokens becomes a token. Pairs are looked for within words only.
 * @param counts words, each a string of one-character tokens, and how often they occur.
 * @returns at most `limit` merges, in their order.
 */
export function learnMerges(counts: ReadonlyMap<string, number>, limit: number): Merge[] {
  const pairs = new PairCounts();
  for (const [text, count] of counts) pairs.count({ tokens: [...text], count }, 1);
  const merges: Merge[] = [];
  while (merges.length < limit) {
    const pair = pairs.next();
    if (!pair || pair.count < MIN_COUNT) break;
    merges.push({ left: pair.left, right: pair.right });
    for (const word of pair.words) {
      pairs.count(word, -1);
      word.tokens = merged(word.tokens, pair);
      pairs.count(word, 1);
    }
    pair.words.clear();
  }
  return merges;
}
