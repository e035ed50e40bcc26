import { RowNumbers } from '../../row-numbers.ts';
import { elementCount, type TensorValue, tensor } from '../../tensor.ts';
import { STATE_PARTS, type StatePart } from '../../training-step.ts';

/** A table's state: its values and moments, all [rows, ...], row-major. */
type Parts = Readonly<Record<StatePart, Float32Array>>;

const perPart = <T>(of: (part: StatePart) => T): Record<StatePart, T> =>
  Object.fromEntries(STATE_PARTS.map((part) => [part, of(part)])) as Record<StatePart, T>;

/** The used rows of a table as tensors: as a step reads them, and as it writes them. */
export type Window = {
  readonly read: Readonly<Record<StatePart, TensorValue>>;
  readonly written: Readonly<Record<StatePart, TensorValue>>;
};

/**
 * A table on the host of which each step sees only the rows that its batch uses. `take` copies them into a window, in the
 * order of their first use, and `put` copies what the step made of them back. Rows of the window beyond the used ones hold
 * anything finite.
 */
export class RowTable {
  readonly parts: Parts;
  readonly #dims: readonly number[];
  readonly #rowSize: number;
  readonly #numbers: RowNumbers;
  readonly #windows = new Map<number, Window>();
  #used: Int32Array = new Int32Array(0);
  #window: Window | undefined;

  /** @param dims of the whole table: [rows, ...]. The parts are kept and written to. */
  constructor(dims: readonly number[], parts: Parts) {
    const rows = dims[0] as number;
    this.parts = parts;
    this.#dims = dims;
    this.#rowSize = elementCount(dims) / rows;
    this.#numbers = new RowNumbers(rows);
  }

  /**
   * Fills the window of `atMost` rows with those that `ids` names.
   * @returns the window, and `ids` with each row's number replaced by its place in the window.
   * @throws RangeError for a number outside the table, or more than `atMost` distinct ones.
   */
  take(ids: TensorValue, atMost: number): { window: Window; places: TensorValue } {
    const { used, places } = this.#numbers.of(ids, atMost);
    const window = this.#windowOf(atMost);
    const size = this.#rowSize;
    for (const part of STATE_PARTS) {
      const [table, rows] = [this.parts[part], window.read[part].data as Float32Array];
      for (let i = 0; i < used.length; i++) {
        const start = (used[i] as number) * size;
        rows.set(table.subarray(start, start + size), i * size);
      }
    }
    this.#used = used;
    this.#window = window;
    return { window, places };
  }

  /** Writes the rows of the last `take` back. */
  put(): void {
    const size = this.#rowSize;
    for (const part of STATE_PARTS) {
      const [table, rows] = [this.parts[part], this.#window?.written[part].data as Float32Array];
      for (let i = 0; i < this.#used.length; i++) {
        table.set(rows.subarray(i * size, (i + 1) * size), (this.#used[i] as number) * size);
      }
    }
  }

  #windowOf(atMost: number): Window {
    const known = this.#windows.get(atMost);
    if (known) return known;
    const empty = (): Record<StatePart, TensorValue> => {
      const dims = this.#dims.with(0, atMost);
      return perPart(() => tensor('float32', dims, new Float32Array(elementCount(dims))));
    };
    const window = { read: empty(), written: empty() };
    this.#windows.set(atMost, window);
    return window;
  }
}
