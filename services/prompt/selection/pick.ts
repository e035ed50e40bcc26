import { foldText } from '@understudy/task/grouping/minhash';

/** An input that could be asked next. */
export interface Candidate {
  readonly text: string;
  /** How unsure the student is of it, 0 or more. */
  readonly doubt: number;
}

/** Characters of the sequences by which texts are compared. */
const GRAM = 4;
/** Beginning of a text that is looked at. */
const MAX_CHARACTERS = 2_000;

/**
 * Chooses `count` candidates, the most useful first: unsure and novel, and unlike each other. A text is worth its doubt times
 * the root of its novelty: the mean over its letter sequences of 1 / (1 + how often a sequence occurs in what was answered or chosen).
 * What is chosen makes its likes less novel, so a batch does not ask one thing a hundred times. Lazy greedy (Minoux 1978),
 * exact because no text ever becomes more novel.
 * @returns indices into `candidates`
 */
export function pickBatch(candidates: readonly Candidate[], answered: Iterable<string>, count: number): number[] {
  const seen = new Map<string, number>();
  const meet = (grams: readonly string[]) => {
    for (const gram of grams) seen.set(gram, (seen.get(gram) ?? 0) + 1);
  };
  for (const text of answered) meet(gramsOf(text));
  const grams = candidates.map(({ text }) => gramsOf(text));
  const worth = (index: number): number => {
    const own = grams[index] as readonly string[];
    let novelty = 0;
    for (const gram of own) novelty += 1 / (1 + (seen.get(gram) ?? 0));
    return (candidates[index] as Candidate).doubt * Math.sqrt(novelty / Math.max(1, own.length));
  };
  const queue = new Queue(candidates.map((_, index) => ({ index, worth: worth(index) })));
  const picked: number[] = [];
  while (picked.length < count) {
    const best = queue.take();
    if (best === undefined) break;
    const now = worth(best.index);
    if (now < queue.bestWorth) {
      queue.put({ index: best.index, worth: now });
      continue;
    }
    picked.push(best.index);
    meet(grams[best.index] as readonly string[]);
  }
  return picked;
}

function gramsOf(text: string): string[] {
  const folded = ` ${foldText(text.slice(0, MAX_CHARACTERS))} `;
  const grams = new Set<string>();
  for (let end = Math.min(GRAM, folded.length); end <= folded.length; end += 1) {
    grams.add(folded.slice(Math.max(0, end - GRAM), end));
  }
  return [...grams];
}

interface Entry {
  readonly index: number;
  readonly worth: number;
}

/** A binary heap, the largest worth on top; of equal ones the smaller index. */
class Queue {
  readonly #entries: Entry[] = [];

  constructor(entries: readonly Entry[]) {
    for (const entry of entries) this.put(entry);
  }

  /** Below all others where there is none. */
  get bestWorth(): number {
    return this.#entries[0]?.worth ?? Number.NEGATIVE_INFINITY;
  }

  put(entry: Entry): void {
    const entries = this.#entries;
    let at = entries.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(entries[at] as Entry, entries[parent] as Entry)) break;
      this.#swap(at, parent);
      at = parent;
    }
  }

  take(): Entry | undefined {
    const entries = this.#entries;
    const top = entries[0];
    const last = entries.pop();
    if (last === undefined || entries.length === 0) return top;
    entries[0] = last;
    for (let at = 0; ; ) {
      let first = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < entries.length && isBefore(entries[child] as Entry, entries[first] as Entry)) first = child;
      }
      if (first === at) return top;
      this.#swap(at, first);
      at = first;
    }
  }

  #swap(a: number, b: number): void {
    const entries = this.#entries;
    [entries[a], entries[b]] = [entries[b] as Entry, entries[a] as Entry];
  }
}

const isBefore = (a: Entry, b: Entry): boolean => a.worth > b.worth || (a.worth === b.worth && a.index < b.index);
