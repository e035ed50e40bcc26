/** Naive Bayes over the words of a text, multinomial with Laplace smoothing (Manning, Raghavan & Schütze 2008, ch. 13). */
export class WordClassifier {
  readonly #answers: string[];
  readonly #priors: Float64Array;
  /** By word: how often it stands in texts of each answer. */
  readonly #counts = new Map<string, Uint32Array>();
  readonly #totals: Float64Array;

  /** The most frequent answers are told apart; an answer that is rarer is never given. */
  static readonly MAX_ANSWERS = 200;

  constructor(pairs: readonly { readonly words: readonly string[]; readonly answer: string }[]) {
    const answers = [...Map.groupBy(pairs, ({ answer }) => answer)].sort((a, b) => b[1].length - a[1].length);
    const told = answers.slice(0, WordClassifier.MAX_ANSWERS);
    this.#answers = told.map(([answer]) => answer);
    this.#totals = new Float64Array(told.length);
    this.#priors = Float64Array.from(told, ([, of]) => Math.log(of.length / pairs.length));
    for (const [index, [, of]] of told.entries()) {
      for (const { words } of of) for (const word of words) this.#add(word, index);
    }
  }

  #add(word: string, index: number): void {
    let counts = this.#counts.get(word);
    if (!counts) {
      counts = new Uint32Array(this.#answers.length);
      this.#counts.set(word, counts);
    }
    counts[index]! += 1;
    this.#totals[index]! += 1;
  }

  /** The likeliest answer; undefined where there is none at all. Words that were never seen say nothing. */
  answerTo(words: readonly string[]): string | undefined {
    const scores = Float64Array.from(this.#priors);
    for (const word of words) {
      const counts = this.#counts.get(word);
      if (!counts) continue;
      for (let i = 0; i < scores.length; i += 1) {
        scores[i]! += Math.log((counts[i]! + 1) / (this.#totals[i]! + this.#counts.size));
      }
    }
    let best = 0;
    for (let i = 1; i < scores.length; i += 1) if (scores[i]! > scores[best]!) best = i;
    return this.#answers[best];
  }
}
