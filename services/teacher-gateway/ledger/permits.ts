import { setTimeout as delay } from 'node:timers/promises';
import type { KV } from '@nats-io/kv';
import { compareAndSet } from '@understudy/service/bus/compare-and-set';
import { messageOf } from '@understudy/service/errors';
import type { Logger } from '@understudy/service/telemetry';
import { parseRate, type Rate, type RateGrant, type RateLimits, renewHolding, startsInMs } from './rate.ts';
import { Sightings } from './sightings.ts';
import { SLOTS_VALID_MS, SlotBook } from './slot-book.ts';

const renewAfterMs = SLOTS_VALID_MS / 3;
/** Between looks at what is held and who else wants places. */
const tickMs = 250;
/** Places that nobody used for this long are given back. */
const giveBackAfterMs = 2_000;
/** Permissions to begin are taken for this much of the pace that the limit allows, so that a few writes a second suffice. */
const startsAheadMs = 250;
/** Between tries while the bus is away. */
const retryMs = 500;

export interface PermitsOptions {
  bucket: KV;
  key: string;
  replica: string;
  limits: RateLimits;
  /** Calls that this replica makes at once at most. */
  wants: number;
  /** How long a call may still be in flight at the teacher after this process died. */
  callsOutliveMs: number;
  log: Logger;
  /** Called when nothing is held, under way or wanted any more. */
  onIdle: () => void;
}

interface Waiter {
  resolve: () => void;
  reject: (reason: unknown) => void;
}

/** One replica's dealings with the rate of one task's teacher: a call begins with `acquire` and ends with `release`. */
export class Permits {
  readonly #options: PermitsOptions;
  readonly #book: SlotBook;
  readonly #sightings = new Sightings();
  readonly #waiters: Waiter[] = [];
  #known: Rate | undefined;
  #ticker: NodeJS.Timeout | undefined;
  #pacer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #lastUsedMs = 0;
  #lastWriteMs = Number.NEGATIVE_INFINITY;
  #closing = false;

  constructor(options: PermitsOptions) {
    this.#options = options;
    this.#book = new SlotBook(options.replica, options.callsOutliveMs, options.limits.requestsPerMinute !== undefined);
  }

  /** Resolves when a call may begin. @throws the signal's reason when it aborts first */
  async acquire(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const now = performance.now();
    this.#lastUsedMs = now;
    if (this.#waiters.length === 0 && this.#book.begin(now)) return;
    await new Promise<void>((resolve, reject) => {
      const done = () => signal.removeEventListener('abort', abort);
      const waiter: Waiter = {
        resolve: () => {
          done();
          resolve();
        },
        reject,
      };
      const abort = () => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        reject(signal.reason);
      };
      signal.addEventListener('abort', abort, { once: true });
      this.#waiters.push(waiter);
      // With all places in use there is nothing to write: a call that ends, or the next tick, goes on.
      if (!this.#ticker || this.#book.slots === 0 || this.#book.hasSlot(now)) this.#look();
    });
  }

  /** The call has ended. */
  release(): void {
    this.#book.end();
    const now = performance.now();
    this.#lastUsedMs = now;
    this.#serve(now);
  }

  /** The rate changed, by whomever. */
  saw(rate: Rate): void {
    this.#sightings.see(rate.turn, performance.now());
    if (this.#known && rate.turn <= this.#known.turn) return;
    this.#known = rate;
    if (this.#ticker) this.#look();
  }

  async close(): Promise<void> {
    this.#closing = true;
    clearInterval(this.#ticker);
    clearTimeout(this.#pacer);
    await this.#running;
    if (this.#book.slots > 0) this.#write();
    await this.#running;
  }

  #serve(now: number): void {
    while (this.#waiters.length > 0 && this.#book.begin(now)) this.#waiters.shift()!.resolve();
  }

  /** Writes when that would change something: more to have, others to make room for, a renewal that is due. */
  #look(): void {
    if (this.#running || this.#closing) return;
    this.#ticker ??= setInterval(() => this.#look(), tickMs);
    const now = performance.now();
    this.#serve(now);
    const idle = this.#idle(now);
    const due = now - this.#lastWriteMs > renewAfterMs;
    if (due && (this.#book.slots > 0 || this.#waiters.length > 0)) this.#write();
    else if (idle && this.#book.slots > 0) this.#write();
    else if (idle) this.#rest();
    else this.#fit(now);
  }

  /** Takes what would be given, makes room for others, or waits until the next call may begin. */
  #fit(now: number): void {
    const { slots, starts } = this.#expected(now);
    this.#book.limit(slots);
    const starved = this.#waiters.length > 0 && this.#book.hasSlot(now) && !this.#book.mayStart(now);
    const yields = slots < this.#book.slots && this.#book.inFlight < this.#book.slots;
    if (slots > this.#book.cap || yields || (starved && starts > 0)) this.#write();
    else if (starved) this.#lookWhenPaced(now);
  }

  #lookWhenPaced(now: number): void {
    if (!this.#known || this.#pacer) return;
    const { requestsPerMinute } = this.#options.limits;
    const waitMs = startsInMs(this.#known, requestsPerMinute, this.#sightings.nowMs(this.#known, now));
    this.#pacer = setTimeout(() => {
      this.#pacer = undefined;
      this.#look();
    }, Math.ceil(waitMs));
  }

  #idle(now: number): boolean {
    return this.#waiters.length === 0 && this.#book.inFlight === 0 && now - this.#lastUsedMs > giveBackAfterMs;
  }

  #rest(): void {
    clearInterval(this.#ticker);
    this.#ticker = undefined;
    this.#options.onIdle();
  }

  /** What a write would give, as far as is known here. */
  #expected(now: number): { slots: number; starts: number } {
    const { limits, replica, wants } = this.#options;
    if (!this.#known) return { slots: wants, starts: 1 };
    const own = this.#known.holdings[replica];
    const request = {
      replica,
      seq: (own?.seq ?? 0) + 1,
      holding: own !== undefined,
      keep: Math.min(this.#book.inFlight, this.#book.slots),
      wants,
      starts: this.#startsWanted(),
      livesMs: 1,
    };
    return renewHolding(this.#known, limits, this.#sightings.nowMs(this.#known, now), request);
  }

  #startsWanted(): number {
    const { requestsPerMinute } = this.#options.limits;
    if (requestsPerMinute === undefined) return 0;
    return Math.max(1, Math.floor((requestsPerMinute / 60_000) * startsAheadMs));
  }

  #write(): void {
    this.#running ??= this.#writeUntilSettled().finally(() => {
      this.#running = undefined;
      if (!this.#closing) this.#look();
    });
  }

  async #writeUntilSettled(): Promise<void> {
    for (;;) {
      const grant = await this.#renew();
      if (grant) {
        const now = performance.now();
        this.#book.confirm(grant);
        this.#lastWriteMs = now;
        this.saw(grant.rate);
        this.#serve(now);
        return;
      }
      if (this.#closing) return;
      await delay(retryMs);
    }
  }

  /** Undefined when the bus is away: the same request is written again later. */
  async #renew(): Promise<RateGrant | undefined> {
    const { bucket, key, limits, wants, log } = this.#options;
    const now = performance.now();
    const over = this.#closing || this.#idle(now);
    const request = this.#book.pending ?? this.#book.request(over ? 0 : wants, this.#startsWanted(), now);
    try {
      return await compareAndSet(bucket, key, (text) => {
        const rate = parseRate(text);
        const grant = renewHolding(rate, limits, this.#sightings.nowMs(rate, performance.now()), request);
        return grant.done ? { result: grant } : { write: JSON.stringify(grant.rate), result: grant };
      });
    } catch (error) {
      log.warn({ key, error: messageOf(error) }, 'the ledger could not be written, trying again');
      return undefined;
    }
  }
}
