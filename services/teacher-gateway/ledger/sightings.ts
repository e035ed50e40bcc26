/** When a replica first saw each turn of a rate, on its monotonic clock: what tells how much time has certainly passed. */
export class Sightings {
  readonly #seenAtMs = new Map<number, number>();

  /** Notes that the value with this turn exists. */
  see(turn: number, monotonicMs: number): void {
    if (this.#seenAtMs.has(turn)) return;
    this.#seenAtMs.set(turn, monotonicMs);
    for (const oldest of this.#seenAtMs.keys()) {
      if (this.#seenAtMs.size <= maxSightings) break;
      this.#seenAtMs.delete(oldest);
    }
  }

  /** The value's clock, advanced by what has passed since it was first seen here. */
  nowMs(value: { turn: number; clockMs: number }, monotonicMs: number): number {
    this.see(value.turn, monotonicMs);
    return value.clockMs + (monotonicMs - this.#seenAtMs.get(value.turn)!);
  }
}

/** A replica decides on the newest values only. */
const maxSightings = 64;
