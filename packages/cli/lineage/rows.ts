import { Purpose } from '@understudy/contract';
import { type CompiledTask, type IdKey, InputError, pairId, promptIdOf } from '@understudy/task';
import { inputCanonicaliser } from '@understudy/task/input';
import { count } from '../format.ts';
import type { Manifest } from './snapshot.ts';
import type { Step } from './steps.ts';
import type { Row } from './table.ts';

/** The key of the platform's ids; `absent` where its file is not here. */
export type HeldKey = IdKey | 'absent';

type RowStep = 'prompt' | 'pair' | 'split';

/** Holds the rows of a snapshot against their own ids, the manifest and the task; remembers the first that does not fit a step. */
export class RowCheck {
  readonly #manifest: Manifest;
  readonly #task: CompiledTask | undefined;
  readonly #idKey: HeldKey;
  readonly #faults = new Map<RowStep, string>();
  readonly #splitOfGroup = new Map<string, string>();
  readonly #perSplit = new Map<string, number>();
  readonly #prompts = new Set<string>();
  #rows = 0;
  #imported = 0;
  #settled = 0;
  #erased = 0;
  /** Ids that none of the keys here makes. */
  #unknown = 0;
  #last = '';

  constructor(manifest: Manifest, task: CompiledTask | undefined, idKey: HeldKey) {
    this.#manifest = manifest;
    this.#task = task;
    this.#idKey = idKey;
  }

  add(row: Row): void {
    this.#rows += 1;
    this.#perSplit.set(row.split, (this.#perSplit.get(row.split) ?? 0) + 1);
    this.#prompts.add(row.prompt_id);
    if (row.purpose === Purpose.IMPORTED) this.#imported += 1;
    if (row.settled !== '') this.#settled += 1;
    if (isErased(row)) this.#erased += 1;
    else this.#note('prompt', row, this.#faultOfPrompt(row));
    this.#note('pair', row, this.#faultOfPair(row));
    this.#note('split', row, this.#faultOfSplit(row));
    this.#last = row.pair_id;
  }

  steps(): Step[] {
    const { pairs, splits } = this.#manifest;
    if (this.#rows !== pairs.rows) {
      this.#faults.set('pair', `the manifest says ${pairs.rows} pairs, the table has ${this.#rows}`);
    }
    const counted = ['train', 'dev', 'test'].map((split) => `${count(this.#perSplit.get(split) ?? 0)} ${split}`);
    for (const [split, rows] of Object.entries(splits)) {
      const came = this.#perSplit.get(split) ?? 0;
      if (came !== rows)
        this.#faults.set('split', `the manifest says ${rows} pairs of ${split}, the table has ${came}`);
    }
    const imported = this.#imported === 0 ? '' : `, ${count(this.#imported)} of them imported`;
    const settled = this.#settled === 0 ? '' : `, the answers of ${count(this.#settled)} settled by a person`;
    return [
      this.#promptStep(),
      this.#step('pair', `${count(this.#rows)} ids computed again${imported}${settled}`),
      this.#step('split', `${counted.join(', ')}; no group in two splits, one pair a group in test`),
    ];
  }

  #promptStep(): Step {
    const whole = this.#rows - this.#erased;
    if (this.#unknown > 0 && this.#unknown < whole) {
      this.#faults.set('prompt', `${count(this.#unknown)} of ${count(whole)} ids are not what their inputs make`);
    } else if (this.#unknown > 0 && !this.#faults.has('prompt')) {
      const why = 'ids are made with a key whose file (ID_KEY_FILE) is not here';
      return { step: 'prompt', state: 'unverified', says: `${why}${this.#andErased()}` };
    }
    const texts = this.#task ? ', and their texts' : '';
    return this.#step('prompt', `${count(this.#prompts.size)} ids computed again${texts}`);
  }

  #andErased(): string {
    return this.#erased === 0 ? '' : `; ${count(this.#erased)} rows erased`;
  }

  #step(step: RowStep, says: string): Step {
    const fault = this.#faults.get(step);
    if (fault !== undefined) return { step, state: 'broken', says: fault };
    if (this.#erased === 0 || step === 'split') return { step, state: 'verified', says };
    return { step, state: 'erased', says: `${says}${this.#andErased()}` };
  }

  #note(step: RowStep, { pair_id }: Row, fault: string | undefined): void {
    if (fault !== undefined && !this.#faults.has(step)) this.#faults.set(step, `pair ${pair_id}: ${fault}`);
  }

  #faultOfPrompt({ prompt_id, input_json, text, fingerprint }: Row): string | undefined {
    const key = this.#idKey === 'absent' ? undefined : this.#idKey;
    const expected = promptIdOf(this.#manifest.task, input_json, key);
    if (prompt_id !== expected) {
      if (this.#idKey !== 'absent') return `its input makes the prompt ${expected}, it says ${prompt_id}`;
      this.#unknown += 1;
    }
    const input = canonicalOf(input_json);
    if (input === undefined) return 'its input is not canonical';
    // Only the snapshot's own fingerprint says which template made the text: imported pairs may be older than this version.
    if (!this.#task || fingerprint !== this.#manifest.fingerprint) return undefined;
    return textOf(this.#task, input) === text ? undefined : 'its text is not what the task makes of its input';
  }

  #faultOfPair({ pair_id, prompt_id, fingerprint, sample_number, purpose }: Row): string | undefined {
    const expected = pairId(prompt_id, fingerprint, sample_number);
    if (pair_id !== expected) return `prompt, fingerprint and sample number make ${expected}`;
    if (pair_id <= this.#last) return `it comes after ${this.#last}: pairs are in order, each once`;
    if (fingerprint === this.#manifest.fingerprint || purpose === Purpose.IMPORTED) return undefined;
    return `it is of the fingerprint ${fingerprint}, the snapshot of ${this.#manifest.fingerprint}`;
  }

  #faultOfSplit({ split, group_id }: Row): string | undefined {
    if (!Object.hasOwn(this.#manifest.splits, split)) return `there is no split ${JSON.stringify(split)}`;
    const known = this.#splitOfGroup.get(group_id);
    this.#splitOfGroup.set(group_id, known ?? split);
    if (known === undefined) return undefined;
    if (known !== split) return `its group ${group_id} is in ${known} too, it is in ${split}`;
    return split === 'test' ? `its group ${group_id} has another pair in test` : undefined;
  }
}

const isErased = (row: Row): boolean => typeof row.erased_digest === 'string';

/** The input, where it stands there as `renderPrompt` writes it; else undefined. */
function canonicalOf(inputJson: string): Readonly<Record<string, string>> | undefined {
  try {
    const input: object = JSON.parse(inputJson);
    const canonical = inputCanonicaliser(Object.keys(input))(input);
    return JSON.stringify(canonical) === inputJson ? canonical : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof InputError || error instanceof TypeError) return undefined;
    throw error;
  }
}

/** Undefined where the task takes no such input. */
function textOf({ renderText }: CompiledTask, input: Readonly<Record<string, string>>): string | undefined {
  try {
    return renderText(input);
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}
