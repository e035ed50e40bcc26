import { type TensorValue, zeros } from './tensor.ts';

/** Row numbers as plain integers. Those of a table are far below 2³¹, so the lower words of 64-bit ones do. */
function integersOf(ids: TensorValue): { numbers: Int32Array; stride: number } {
  const { data } = ids;
  if (data instanceof Int32Array) return { numbers: data, stride: 1 };
  if (data instanceof BigInt64Array) {
    return { numbers: new Int32Array(data.buffer, data.byteOffset, 2 * data.length), stride: 2 };
  }
  throw new RangeError(`row numbers must be int32 or int64, got ${ids.type}`);
}

/**
 * The distinct rows of a batch in the order of their first use, and the batch's row numbers as places among them; in
 * buffers that the next batch may overwrite, because fresh ones cost a step a tenth of its time in garbage collection.
 */
export type UsedRowNumbers = { readonly used: Int32Array; readonly places: TensorValue };

/** Finds the rows of a table that a batch uses. */
export class RowNumbers {
  /** The place of each row in a batch, and the batch in which it had it. */
  readonly #places: Int32Array;
  readonly #batches: Int32Array;
  #batch = 0;
  #used = new Int32Array(0);
  #last: TensorValue | undefined;

  /** @param rows of the table. */
  constructor(rows: number) {
    this.#places = new Int32Array(rows);
    this.#batches = new Int32Array(rows);
  }

  /** @throws RangeError for a number outside the table, or more than `atMost` distinct ones. */
  of(ids: TensorValue, atMost: number): UsedRowNumbers {
    const { numbers, stride } = integersOf(ids);
    const places = this.#placesLike(ids);
    const placed = integersOf(places).numbers;
    if (this.#used.length < atMost) this.#used = new Int32Array(atMost);
    const used = this.#used;
    let count = 0;
    this.#batch += 1;
    for (let i = 0; i < numbers.length; i += stride) {
      const row = numbers[i] as number;
      if (!(row >= 0 && row < this.#places.length)) {
        throw new RangeError(`row ${row} at ${i / stride}: the table has the rows 0 to ${this.#places.length - 1}`);
      }
      if (this.#batches[row] !== this.#batch) {
        if (count === atMost) throw new RangeError(`a batch uses more than ${atMost} rows of the table: raise atMost`);
        this.#batches[row] = this.#batch;
        this.#places[row] = count;
        used[count++] = row;
      }
      placed[i] = this.#places[row] as number;
    }
    return { used: used.subarray(0, count), places };
  }

  #placesLike({ type, dims }: TensorValue): TensorValue {
    const last = this.#last;
    if (last?.type === type && last.dims.join() === dims.join()) return last;
    this.#last = zeros(type, dims);
    return this.#last;
  }
}
