import { MAX_SAMPLE_BYTES } from './limits.ts';

/** Something that is drawn by its rank: hex digits of a digest, all of one length. */
export interface Ranked {
  promptId: string;
  rank: string;
  weight: number;
  inputJson: string;
}

/** What is to be drawn does not fit into memory. */
export class TooLargeSample extends Error {
  override readonly name = 'TooLargeSample';
}

/** The `size` candidates of lowest rank among all that were added, each once with its count. */
export class LowestRanks<C extends Ranked> {
  readonly #size: number;
  readonly #candidates = new Map<string, C>();
  #bytes = 0;
  /** No candidate of this rank or above can be among the lowest any more. */
  #bar = 'g';
  /** True once a candidate was left out. */
  #partial = false;

  constructor(size: number) {
    this.#size = size;
  }

  add(candidate: C): void {
    const known = this.#candidates.get(candidate.promptId);
    if (known !== undefined) {
      known.weight += 1;
      return;
    }
    if (candidate.rank >= this.#bar) {
      this.#partial = true;
      return;
    }
    this.#candidates.set(candidate.promptId, candidate);
    this.#bytes += candidate.inputJson.length;
    const full = this.#candidates.size >= 2 * this.#size;
    if (full || this.#bytes > MAX_SAMPLE_BYTES) this.#shrink();
  }

  /** In the order of their ranks. */
  take(): C[] {
    this.#shrink();
    return [...this.#candidates.values()];
  }

  /**
   * Distinct inputs added: counted, or, where some were left out, estimated from the highest of the k lowest ranks as
   * (k − 1) / rank with ranks in (0, 1), to about 1/√k (Bar-Yossef et al., "Counting distinct elements in a data stream").
   */
  population(): number {
    this.#shrink();
    if (!this.#partial) return this.#candidates.size;
    const highest = Number.parseInt(this.#bar.slice(0, 13), 16) / 16 ** 13;
    return Math.max(this.#candidates.size, Math.round((this.#candidates.size - 1) / highest));
  }

  #shrink(): void {
    const sorted = [...this.#candidates.values()].sort((a, b) => (a.rank < b.rank ? -1 : 1));
    if (sorted.splice(this.#size).length > 0) this.#partial = true;
    this.#candidates.clear();
    this.#bytes = 0;
    for (const candidate of sorted) {
      this.#candidates.set(candidate.promptId, candidate);
      this.#bytes += candidate.inputJson.length;
    }
    if (this.#bytes > MAX_SAMPLE_BYTES) {
      throw new TooLargeSample(
        `expected a sample of at most ${MAX_SAMPLE_BYTES} bytes, got more for ${this.#size} inputs; lower budget.calls`,
      );
    }
    const highest = sorted.at(-1);
    if (highest !== undefined && sorted.length === this.#size) this.#bar = highest.rank;
  }
}
