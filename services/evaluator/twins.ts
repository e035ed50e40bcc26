/**
 * Test pairs that prove nothing, because train or another test pair has the same text but for a detail. The pair store keeps near-duplicates
 * in one split; the evaluator believes nobody and looks itself, with the same measure of likeness.
 */
import { foldText } from '@understudy/task/grouping/minhash';
import { Neighbours } from '@understudy/task/grouping/neighbours';
import type { TwinsReport, VerdictReport } from './report.ts';

/** The pair store's own search misses a few in a thousand of those that are barely alike. More than this is a split that was tampered with. */
const MAX_TWIN_SHARE = 0.02;

/** Looks for the twins of one test split. */
export class TwinSearch<P extends { readonly text: string }> {
  /** Test pairs that are like none before them. */
  readonly #distinct: P[] = [];
  readonly #repeated: number;
  readonly #neighbours = new Neighbours();
  readonly #inTrain = new Set<number>();

  constructor(test: readonly P[]) {
    for (const pair of test) {
      let isNew = true;
      this.#neighbours.search(foldText(pair.text), () => {
        isNew = false;
      });
      if (!isNew) continue;
      this.#neighbours.add();
      this.#distinct.push(pair);
    }
    this.#repeated = test.length - this.#distinct.length;
  }

  /** The texts of train, passed on as they come; afterwards `kept` and `report` are right. */
  async *among(trainTexts: AsyncIterable<string>): AsyncGenerator<string> {
    for await (const text of trainTexts) {
      this.#neighbours.search(foldText(text), (number) => this.#inTrain.add(number));
      yield text;
    }
  }

  /** What a student can be tested on. */
  kept(): P[] {
    return this.#distinct.filter((_, number) => !this.#inTrain.has(number));
  }

  report(): TwinsReport {
    return { ofTrain: this.#inTrain.size, ofTest: this.#repeated };
  }
}

/** The verdict on a test of which too much was learnt by heart. */
export function verdictOfTwins({ ofTrain }: TwinsReport, testPairs: number): VerdictReport | undefined {
  if (ofTrain <= testPairs * MAX_TWIN_SHARE) return undefined;
  const reason = `the test proves nothing: ${ofTrain} of its ${testPairs} pairs are in train too, word for word or nearly (at most ${
    MAX_TWIN_SHARE * 100
  }% are left out and forgiven); find out who made this snapshot, and seal another`;
  return { passed: false, reason, morePairs: 0 };
}
