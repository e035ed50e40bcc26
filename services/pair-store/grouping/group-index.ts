/**
 * Which near-duplicate group and split each prompt of one task belongs to. Held in memory, filled from the database in
 * order of arrival; what it decides about a new prompt is stored by the caller and never changes.
 */
import { Split } from '@understudy/contract';
import { foldText, textHash } from '@understudy/task/grouping/minhash';
import { Neighbours } from '@understudy/task/grouping/neighbours';
import { type Ratios, splitOf } from '@understudy/task/grouping/split';

/** Above this many prompts in one process (about 0.6 KB each) memory gives out before the machine does. */
export const MAX_INDEXED_PROMPTS = 2_000_000;

export interface Placement {
  readonly groupId: string;
  readonly split: Split;
}

export interface NewPrompt {
  readonly promptId: string;
  readonly text: string;
  /** True for a random sample of the population: others may train, but not judge. */
  readonly mayBeHeldOut: boolean;
}

export class GroupIndex {
  /** The arrival number of the last prompt that was read from the database. */
  lastSeq = 0;
  readonly #task: string;
  readonly #placements: Placement[] = [];
  /** By the first 53 bits of the prompt's id. */
  readonly #byPrompt = new Map<number, Placement>();
  readonly #byText = new Map<number, Placement>();
  /** Placement of each text in `#neighbours`. */
  readonly #neighbours = new Neighbours();
  readonly #examples = new Set<string>();

  constructor(task: string) {
    this.#task = task;
  }

  get size(): number {
    return this.#byPrompt.size;
  }

  /** Where the prompt was placed when it was first seen, if it was. */
  find(promptId: string): Placement | undefined {
    return this.#byPrompt.get(idHash(promptId));
  }

  /** Takes over a placement that is stored. */
  restore(promptId: string, text: string, placement: Placement): void {
    const folded = foldText(text);
    this.#remember(promptId, textHash(folded), placement);
    if (placement.split === Split.QUARANTINED) return;
    this.#neighbours.search(folded, () => {});
    this.#keep(placement);
  }

  /**
   * Prompts that the teacher is shown with their answers: they and their near-duplicates belong to no split, because the
   * teacher's answer to them says nothing.
   */
  excludeExamples(texts: readonly string[]): void {
    for (const text of texts) {
      if (this.#examples.has(text)) continue;
      this.#examples.add(text);
      const placement = { groupId: '', split: Split.QUARANTINED };
      this.#neighbours.search(foldText(text), () => {});
      this.#keep(placement);
    }
  }

  /** Decides where a prompt that `find` does not know belongs, and remembers it. */
  place({ promptId, text, mayBeHeldOut }: NewPrompt, ratios: Ratios): Placement {
    const folded = foldText(text);
    const hash = textHash(folded);
    const same = this.#byText.get(hash);
    let nearest: Placement | undefined;
    let nearestSimilarity = 0;
    const splits = new Set<Split>();
    if (same) {
      nearest = same;
      splits.add(same.split);
    } else {
      this.#neighbours.search(folded, (number, similarity) => {
        const neighbour = this.#placements[number]!;
        splits.add(neighbour.split);
        if (similarity > nearestSimilarity) [nearest, nearestSimilarity] = [neighbour, similarity];
      });
    }
    const placement = decide(this.#task, promptId, mayBeHeldOut, ratios, nearest, splits);
    this.#remember(promptId, hash, placement);
    if (!same && placement.split !== Split.QUARANTINED) this.#keep(placement);
    return placement;
  }

  #remember(promptId: string, hash: number, placement: Placement): void {
    this.#byPrompt.set(idHash(promptId), placement);
    if (!this.#byText.has(hash)) this.#byText.set(hash, placement);
  }

  #keep(placement: Placement): void {
    this.#placements[this.#neighbours.add()] = placement;
  }
}

function decide(
  task: string,
  promptId: string,
  mayBeHeldOut: boolean,
  ratios: Ratios,
  nearest: Placement | undefined,
  splits: ReadonlySet<Split>,
): Placement {
  if (!nearest) return { groupId: promptId, split: mayBeHeldOut ? splitOf(task, promptId, ratios) : Split.TRAIN };
  const heldOut = nearest.split === Split.DEV || nearest.split === Split.TEST;
  const clean = splits.size === 1 && nearest.split !== Split.QUARANTINED && (mayBeHeldOut || !heldOut);
  return clean ? nearest : { groupId: promptId, split: Split.QUARANTINED };
}

/** 53 bits of an id that is a digest: two of a million prompts collide with a chance of 1 in 18,000. */
function idHash(promptId: string): number {
  return Number.parseInt(promptId.slice(0, 8), 16) * 0x20_0000 + (Number.parseInt(promptId.slice(8, 14), 16) >>> 3);
}
