import { setTimeout as delay } from 'node:timers/promises';
import type { KV } from '@nats-io/kv';
import { compareAndSet } from '@understudy/service/bus/compare-and-set';
import { messageOf } from '@understudy/service/errors';
import type { Logger } from '@understudy/service/telemetry';
import {
  type Amount,
  type Budget,
  DEFAULT_LEASE_MS,
  isHopeless,
  nothing,
  parseBudget,
  plus,
  type Renewal,
  renewLease,
} from './budget.ts';
import { LeaseBook, type Reservation } from './lease-book.ts';
import { LeaseSightings } from './lease-sightings.ts';

const renewAfterMs = 5_000;
/** What was spent is told at least this often. */
const settleAfterMs = 500;
/** A lease that nobody draws on is given back after this, so that the last calls of a budget are not held by an idle replica. */
const giveBackAfterMs = 1_000;
/** Leased ahead is what was reserved in this time: a few writes a second, and little lost when the process dies. */
const paceMs = 250;
const maxAheadCalls = 2_000;
/** Between looks at a budget whose rest is leased to others. */
const waitMs = 100;
/** While calls wait the limit is no older than this. */
const limitAgeMs = 1_000;
/** Between tries while the bus is away. */
const retryMs = 500;

/** The budget has no room for a call, and cannot get any. */
export class BudgetExhausted extends Error {
  override name = 'BudgetExhausted';
}

export interface AccountOptions {
  bucket: KV;
  key: string;
  replica: string;
  /** What may be spent in all; read again when calls wait, because it may have changed. */
  limit: () => Promise<Amount>;
  log: Logger;
  /** Called when something is wanted of the budget, and when nothing is leased, under way or wanted any more. */
  onBusy: () => void;
  onIdle: () => void;
}

interface Waiter {
  microUsd: number;
  resolve: (reservation: Reservation) => void;
  reject: (reason: unknown) => void;
}

/** One replica's dealings with one budget: reserves calls out of its lease, and keeps the lease as large as it needs. */
export class Account {
  readonly #options: AccountOptions;
  readonly #book: LeaseBook;
  readonly #sightings = new LeaseSightings();
  readonly #waiters: Waiter[] = [];
  #ticker: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #paceStartMs = performance.now();
  #pace = 0;
  #lastPace = 0;
  #lastReservedMs = 0;
  #lastWriteMs = 0;
  #lastMicroUsd = 0;
  #limit: Amount = nothing;
  #limitReadMs = Number.NEGATIVE_INFINITY;
  /** First of those that waited when the pending request was made. */
  #asked: Waiter | undefined;
  #closing = false;

  constructor(options: AccountOptions) {
    this.#options = options;
    this.#book = new LeaseBook(options.replica);
  }

  /** Reserves one call and the most that it can cost, if that is at hand. */
  reserveNow(microUsd: number): Reservation | undefined {
    this.#countPace(microUsd);
    const reservation = this.#waiters.length === 0 ? this.#book.reserve(microUsd) : undefined;
    if (reservation && this.#book.available.calls < this.#ahead() / 2) this.#write();
    return reservation;
  }

  /**
   * Waits for room for one call and the most that it can cost.
   * @throws BudgetExhausted when the budget can never afford it; the signal's reason when it aborts first
   */
  async reserve(microUsd: number, signal: AbortSignal): Promise<Reservation> {
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const done = () => signal.removeEventListener('abort', abort);
      const waiter: Waiter = {
        microUsd,
        resolve: (reservation) => {
          done();
          resolve(reservation);
        },
        reject: (reason) => {
          done();
          reject(reason);
        },
      };
      const abort = () => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        waiter.reject(signal.reason);
      };
      signal.addEventListener('abort', abort, { once: true });
      this.#waiters.push(waiter);
      this.#write();
    });
  }

  /** The call was made and cost this much. */
  settle(reservation: Reservation, spentMicroUsd: number): void {
    if (spentMicroUsd > reservation.microUsd) {
      const facts = { key: this.#options.key, bound: reservation.microUsd, spent: spentMicroUsd };
      this.#options.log.error(facts, 'alarm: a call cost more than the most that it should');
    }
    this.#book.settle(reservation, spentMicroUsd);
  }

  /** The call was made, and nobody will know what it cost: what was reserved for it counts as spent. */
  leaveUnsettled(reservation: Reservation): void {
    this.#book.leaveUnsettled(reservation);
  }

  /** The call was not made. */
  cancel(reservation: Reservation): void {
    this.#book.cancel(reservation);
  }

  /** Settles and gives the lease back, as far as the bus can be reached. */
  async close(): Promise<void> {
    this.#closing = true;
    clearInterval(this.#ticker);
    await this.#running;
    if (this.#book.leased || this.#book.untold) this.#write();
    await this.#running;
  }

  #countPace(microUsd: number): void {
    const now = performance.now();
    if (now - this.#paceStartMs > paceMs) {
      this.#lastPace = now - this.#paceStartMs > 2 * paceMs ? 0 : this.#pace;
      this.#pace = 0;
      this.#paceStartMs = now;
    }
    this.#pace += 1;
    this.#lastReservedMs = now;
    this.#lastMicroUsd = microUsd;
  }

  #ahead(): number {
    return Math.min(maxAheadCalls, Math.max(this.#pace, this.#lastPace));
  }

  #write(): void {
    this.#options.onBusy();
    this.#running ??= this.#writeUntilSettled().finally(() => {
      this.#running = undefined;
    });
  }

  async #writeUntilSettled(): Promise<void> {
    // Calls that begin together share the first write.
    await Promise.resolve();
    do {
      const renewal = await this.#renew();
      if (!renewal) {
        if (this.#closing) return;
        await delay(retryMs);
        continue;
      }
      this.#book.confirm(renewal);
      this.#lastWriteMs = performance.now();
      this.#serve(renewal.budget);
      // Refused for now: what others have leased may come back. Whoever came meanwhile was not asked for yet.
      if (this.#asked && this.#waiters[0] === this.#asked) await delay(waitMs);
    } while (this.#waiters.length > 0 || this.#book.pending);
    this.#tickWhileLeased();
  }

  /** Undefined when the bus is away: the same request is written again later. */
  async #renew(): Promise<Renewal | undefined> {
    const { bucket, key, log } = this.#options;
    const request = this.#book.pending ?? this.#nextRequest();
    try {
      const limit = await this.#limitNow();
      return await compareAndSet(bucket, key, (text) => {
        const budget = parseBudget(text);
        const overdue = this.#sightings.overdue(budget, performance.now());
        const renewal = renewLease(budget, limit, overdue, request);
        return renewal.done ? { result: renewal } : { write: JSON.stringify(renewal.budget), result: renewal };
      });
    } catch (error) {
      log.warn({ key, error: messageOf(error) }, 'the ledger could not be written, trying again');
      return undefined;
    }
  }

  async #limitNow(): Promise<Amount> {
    const now = performance.now();
    const isRead = this.#limitReadMs > Number.NEGATIVE_INFINITY;
    if (isRead && (this.#waiters.length === 0 || now - this.#limitReadMs < limitAgeMs)) return this.#limit;
    this.#limit = await this.#options.limit();
    this.#limitReadMs = now;
    return this.#limit;
  }

  #nextRequest() {
    const idle = performance.now() - this.#lastReservedMs > giveBackAfterMs;
    this.#asked = this.#waiters[0];
    const wants = this.#waiters.map(({ microUsd }) => microUsd);
    const giveBack = (this.#closing || idle) && wants.length === 0;
    const missing = Math.max(0, this.#ahead() - (wants.length > 0 ? 0 : this.#book.available.calls));
    const ahead = { calls: giveBack ? 0 : missing, microUsdEach: this.#lastMicroUsd };
    return this.#book.request(wants, ahead, DEFAULT_LEASE_MS, giveBack);
  }

  #serve(budget: Budget): void {
    for (let head = this.#waiters[0]; head; head = this.#waiters[0]) {
      const reservation = this.#book.reserve(head.microUsd);
      if (reservation) {
        this.#waiters.shift();
        head.resolve(reservation);
      } else if (isHopeless(budget, this.#limit, this.#book.callsUnderWay, head.microUsd)) {
        this.#waiters.shift();
        head.reject(new BudgetExhausted(this.#exhausted(budget, head.microUsd)));
      } else return;
    }
  }

  #tickWhileLeased(): void {
    if (this.#closing) return;
    if (!this.#book.leased && !this.#book.untold) {
      clearInterval(this.#ticker);
      this.#ticker = undefined;
      if (this.#waiters.length === 0) this.#options.onIdle();
      return;
    }
    this.#ticker ??= setInterval(() => this.#tick(), paceMs);
  }

  #tick(): void {
    const now = performance.now();
    const sinceWriteMs = now - this.#lastWriteMs;
    const untold = this.#book.untold && sinceWriteMs > settleAfterMs;
    const idle = now - this.#lastReservedMs > giveBackAfterMs && this.#book.available.calls > 0;
    if (untold || idle || sinceWriteMs > renewAfterMs) this.#write();
  }

  #exhausted({ settled, expired }: Budget, microUsd: number): string {
    const limit = this.#limit;
    const gone = plus(settled, expired);
    const calls = `${gone.calls + this.#book.callsUnderWay} of ${limit.calls} calls`;
    const money = `${gone.microUsd / 1e6} of ${limit.microUsd / 1e6} USD`;
    return `the budget is spent: ${calls} and ${money}; this call could cost ${microUsd / 1e6} USD`;
  }
}
