import { elementCount, type TensorValue, tensor, zeros } from './tensor.ts';
import { STATE_PARTS, type StatePart } from './training-step.ts';

/** A table's state: its values and moments, all [rows, ...], row-major. */
type Parts = Readonly<Record<StatePart, Float32Array>>;

const perPart = <T>(of: (part: StatePart) => T): Record<StatePart, T> =>
  Object.fromEntries(STATE_PARTS.map((part) => [part, of(part)])) as Record<StatePart, T>;

/** The used rows of a table as tensors: as a step reads them, and as it writes them. */
export type Window = {
  readonly read: Readonly<Record<StatePart, TensorValue>>;
  readonly written: Readonly<Record<StatePart, TensorValue>>;
};

/** Row numbers as plain integers. Those of a table are far below 2³¹, so the lower words of 64-bit ones do. */
function rowNumbers(ids: TensorValue): { numbers: Int32Array; stride: number } {
  const { data } = ids;
  if (data instanceof Int32Array) return { numbers: data, stride: 1 };
  if (data instanceof BigInt64Array) {
    return { numbers: new Int32Array(data.buffer, data.byteOffset, 2 * data.length), stride: 2 };
  }
  throw new RangeError(`row numbers must be int32 or int64, got ${ids.type}`);
}

/**
 * A table of which each step sees only the rows that its batch uses. `take` copies them into a window, in the order of
 * their first use, and `put` copies what the step made of them back. Rows of the window beyond the used ones hold
 * anything finite.
 */
export class RowTable {
  readonly parts: Parts;
  readonly #dims: readonly number[];
  readonly #rowSize: number;
  /** The place of each row in the window, and the take in which it had it. */
  readonly #places: Int32Array;
  readonly #takes: Int32Array;
  readonly #windows = new Map<number, Window>();
  #take = 0;
  #used: Int32Array = new Int32Array(0);
  #window: Window | undefined;

  /** @param dims of the whole table: [rows, ...]. The parts are kept and written to. */
  constructor(dims: readonly number[], parts: Parts) {
    const rows = dims[0] as number;
    this.parts = parts;
    this.#dims = dims;
    this.#rowSize = elementCount(dims) / rows;
    this.#places = new Int32Array(rows);
    this.#takes = new Int32Array(rows);
  }

  /**
   * Fills the window of `atMost` rows with those that `ids` names.
   * @returns the window, and `ids` with each row's number replaced by its place in the window.
   * @throws RangeError for a number outside the table, or more than `atMost` distinct ones.
   */
  take(ids: TensorValue, atMost: number): { window: Window; places: TensorValue } {
    const places = zeros(ids.type, ids.dims);
    this.#used = this.#distinct(ids, places, atMost);
    const window = this.#windowOf(atMost);
    const size = this.#rowSize;
    for (const part of STATE_PARTS) {
      const [table, rows] = [this.parts[part], window.read[part].data as Float32Array];
      for (let i = 0; i < this.#used.length; i++) {
        const start = (this.#used[i] as number) * size;
        rows.set(table.subarray(start, start + size), i * size);
      }
    }
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

  #distinct(ids: TensorValue, places: TensorValue, atMost: number): Int32Array {
    const { numbers, stride } = rowNumbers(ids);
    const placed = rowNumbers(places).numbers;
    const used = new Int32Array(atMost);
    let count = 0;
    this.#take += 1;
    for (let i = 0; i < numbers.length; i += stride) {
      const row = numbers[i] as number;
      if (!(row >= 0 && row < this.#places.length)) {
        throw new RangeError(`row ${row} at ${i / stride}: the table has the rows 0 to ${this.#places.length - 1}`);
      }
      if (this.#takes[row] !== this.#take) {
        if (count === atMost) throw new RangeError(`a batch uses more than ${atMost} rows of the table: raise atMost`);
        this.#takes[row] = this.#take;
        this.#places[row] = count;
        used[count++] = row;
      }
      placed[i] = this.#places[row] as number;
    }
    return used.subarray(0, count);
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
