/** Checks that are started with nothing saved: one hour's worth. */
const HOURS_SAVED = 24;
const DAY_MS = 24 * 60 * 60 * 1_000;

/**
 * Spreads a day's calls over the day: a bucket that fills evenly and holds an hour's worth, so that a busy morning leaves something for the
 * night. Whether there is a call left never depends on the answer that it would check. Time is the process's own, so a changed clock changes nothing.
 */
export class Pace {
  readonly #perMs: number;
  readonly #most: number;
  #saved: number;
  #atMs: number;

  constructor(callsPerDay: number, nowMs: number) {
    this.#perMs = callsPerDay / DAY_MS;
    this.#most = Math.max(1, callsPerDay / HOURS_SAVED);
    this.#saved = callsPerDay === 0 ? 0 : this.#most;
    this.#atMs = nowMs;
  }

  /** Takes a call, if there is one. @param nowMs of a clock that never goes back */
  take(nowMs: number): boolean {
    this.#saved = Math.min(this.#most, this.#saved + (nowMs - this.#atMs) * this.#perMs);
    this.#atMs = nowMs;
    if (this.#saved < 1) return false;
    this.#saved -= 1;
    return true;
  }
}
