import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { messageOf } from '@understudy/service/errors';
import { CLOCK_INTERVAL_MS } from '../limits.ts';
import { keepSpentMs, keptSpentMs } from '../outcomes.ts';

export interface ClockOptions {
  readonly blobs: BlobStore;
  /** Of the search whose time it is. */
  readonly searchKey: string;
  readonly limitMs: number;
  /** When it began here, by `performance.now()`: what had to be fetched first is part of it. */
  readonly begunMs: number;
  /** Told when what was spent could not be kept: a next process would begin a little earlier. */
  readonly onNoteLost: (reason: string) => void;
}

/**
 * The time of a search. What killed processes spent on it counts, what passed between them does not: an outage is not
 * the search's doing.
 */
export class Clock implements AsyncDisposable {
  /** Resolves when the time is over. */
  readonly over: Promise<void>;
  readonly #options: ClockOptions;
  readonly #earlierMs: number;
  readonly #deadline: NodeJS.Timeout;
  readonly #notes: NodeJS.Timeout;
  #isOver: boolean;
  #note: Promise<void> = Promise.resolve();

  private constructor(options: ClockOptions, earlierMs: number) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#options = options;
    this.#earlierMs = earlierMs;
    const leftMs = Math.max(0, options.limitMs - this.spentMs);
    this.#isOver = leftMs === 0;
    this.over = promise;
    this.#deadline = setTimeout(() => {
      this.#isOver = true;
      resolve();
    }, leftMs);
    this.#notes = setInterval(() => this.#keep(), CLOCK_INTERVAL_MS);
  }

  static async start(options: ClockOptions): Promise<Clock> {
    return new Clock(options, await keptSpentMs(options.blobs, options.searchKey));
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  get spentMs(): number {
    return Math.round(this.#earlierMs + performance.now() - this.#options.begunMs);
  }

  #keep(): void {
    const { blobs, searchKey, onNoteLost } = this.#options;
    this.#note = this.#note
      .then(() => keepSpentMs(blobs, searchKey, this.spentMs))
      .catch((error: unknown) => onNoteLost(messageOf(error)));
  }

  /** Stops it, and keeps what was spent for whoever goes on. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#deadline);
    clearInterval(this.#notes);
    this.#keep();
    await this.#note;
  }
}
