import { setTimeout as delay } from 'node:timers/promises';
import type { KV } from '@nats-io/kv';
import { compareAndSet } from '@understudy/service/bus/compare-and-set';
import { messageOf } from '@understudy/service/errors';
import type { Logger } from '@understudy/service/telemetry';
import { parseRate, type Rate, type RateGrant, type RateLimits, renewHolding, startsInMs } from './rate.ts';
import { Sightings } from './sightings.ts';
import { type Permit, SLOTS_VALID_MS, SlotBook, type Wanted } from './slot-book.ts';

const renewAfterMs = SLOTS_VALID_MS / 3;
/** Between looks at what is held and who else wants places. */
const tickMs = 250;
/** Places that nobody used for this long are given back. */
const giveBackAfterMs = 2_000;
/** Permissions to begin are taken for this much of the pace that the limit allows, so that a few writes a second suffice. */
const startsAheadMs = 250;
/** The same for tokens; bounds of calls are several times what they use, and what was not used comes back. */
const tokensAheadMs = 1_000;
const noTokens = { wants: 0, least: 0 };
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
  /** The most that its call can use. */
  tokens: number;
  resolve: (permit: Permit) => void;
  reject: (reason: unknown) => void;
}

/**
 * One replica's dealings with the rate of one task's teacher: a call begins with `acquire`, gives back what it did not use
 * with `settle`, and ends with `release`.
 */
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
  /** When a call last had to wait. */
  #lastShortMs = Number.NEGATIVE_INFINITY;
  #lastWriteMs = Number.NEGATIVE_INFINITY;
  #closing = false;

  constructor(options: PermitsOptions) {
    this.#options = options;
    this.#book = new SlotBook(options.replica, options.callsOutliveMs, options.limits);
  }

  /** Resolves when a call that uses so many tokens at most may begin. @throws the signal's reason when it aborts first */
  async acquire(signal: AbortSignal, tokens: number): Promise<Permit> {
    signal.throwIfAborted();
    const now = performance.now();
    this.#lastUsedMs = now;
    const permit = this.#waiters.length === 0 ? this.#book.begin(now, tokens) : undefined;
    if (permit) return permit;
    return new Promise<Permit>((resolve, reject) => {
      const done = () => signal.removeEventListener('abort', abort);
      const waiter: Waiter = {
        tokens,
        resolve: (given) => {
          done();
          resolve(given);
        },
        reject,
      };
      const abort = () => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        reject(signal.reason);
      };
      signal.addEventListener('abort', abort, { once: true });
      this.#waiters.push(waiter);
      this.#lastShortMs = now;
      // With all places in use there is nothing to write: a call that ends, or the next tick, goes on.
      if (!this.#ticker || this.#book.slots === 0 || this.#book.hasSlot(now) || this.#askedForFewer(now)) this.#look();
    });
  }

  /** The call used so many tokens; none where it was not made. */
  settle(permit: Permit, usedTokens: number): void {
    this.#book.settle(permit, usedTokens);
  }

  /** The place of a call is free again. */
  release(): void {
    this.#book.end();
    const now = performance.now();
    this.#lastUsedMs = now;
    this.#serve(now);
    // What the call did not use of its tokens may be what others wait for.
    if (this.#waiters.length > 0 && this.#options.limits.tokensPerMinute !== undefined) this.#look();
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
    for (let head = this.#waiters[0]; head; head = this.#waiters[0]) {
      const permit = this.#book.begin(now, head.tokens);
      if (!permit) return;
      this.#waiters.shift();
      this.#lastShortMs = now;
      head.resolve(permit);
    }
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
    const { slots, starts, tokens } = this.#expected(now);
    this.#book.limit(slots);
    const [head] = this.#waiters;
    const starved = head !== undefined && this.#book.hasSlot(now) && !this.#book.mayStart(now, head.tokens);
    const { requestsPerMinute, tokensPerMinute } = this.#options.limits;
    const served = (requestsPerMinute === undefined || starts > 0) && (tokensPerMinute === undefined || tokens > 0);
    const yields = slots < this.#book.slots && this.#book.inFlight < this.#book.slots;
    const more = slots > this.#book.cap || (head !== undefined && this.#askedForFewer(now));
    if (more || yields || (starved && served)) this.#write();
    // Tokens come free when calls end and slices of time go by: the next tick sees it.
    else if (starved && starts === 0) this.#lookWhenPaced(now);
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

  /**
   * Places worth asking for: where others have fewer than they could use, and no call here has waited lately, no more than
   * calls are in; one, where none is.
   */
  #places(now: number): number {
    const { replica, wants } = this.#options;
    const isShort = this.#waiters.length > 0 || now - this.#lastShortMs <= giveBackAfterMs;
    const holdings = Object.entries(this.#known?.holdings ?? {});
    const isScarce = holdings.some(([name, other]) => name !== replica && other.slots < other.wants);
    return isShort || !isScarce ? wants : Math.min(wants, Math.max(1, this.#book.inFlight));
  }

  #askedForFewer(now: number): boolean {
    const own = this.#known?.holdings[this.#options.replica];
    return own !== undefined && own.wants < this.#places(now);
  }

  /** What a write would give, as far as is known here. */
  #expected(now: number): { slots: number; starts: number; tokens: number } {
    const { limits, replica, wants } = this.#options;
    if (!this.#known) return { slots: wants, starts: 1, tokens: 1 };
    const own = this.#known.holdings[replica];
    const request = {
      replica,
      seq: (own?.seq ?? 0) + 1,
      holding: own !== undefined,
      keep: Math.min(this.#book.inFlight, this.#book.slots),
      wants: this.#places(now),
      starts: this.#wanted().starts,
      tokens: { ...this.#wanted().tokens, back: this.#book.backlog() },
      livesMs: 1,
    };
    const grant = renewHolding(this.#known, limits, this.#sightings.nowMs(this.#known, now), request);
    return { slots: grant.slots, starts: grant.starts, tokens: grant.tokens.tokens };
  }

  #wanted(): Wanted {
    const { requestsPerMinute: calls, tokensPerMinute } = this.#options.limits;
    const starts = calls === undefined ? 0 : Math.max(1, Math.floor((calls / 60_000) * startsAheadMs));
    return { starts, tokens: tokensPerMinute === undefined ? noTokens : this.#tokensWanted(tokensPerMinute) };
  }

  /** What those need who could begin at once, but no more than a pace's worth beyond the first. */
  #tokensWanted(tokensPerMinute: number): Wanted['tokens'] {
    const [head] = this.#waiters;
    if (!head) return noTokens;
    const least = this.#book.tokensOf(head.tokens);
    const most = Math.max(least, (tokensPerMinute / 60_000) * tokensAheadMs);
    let wants = 0;
    for (const { tokens } of this.#waiters) {
      const more = wants + this.#book.tokensOf(tokens);
      if (more > most) break;
      wants = more;
    }
    return { wants, least };
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
    const { bucket, key, limits, log } = this.#options;
    const now = performance.now();
    const over = this.#closing || this.#idle(now);
    const request = this.#book.pending ?? this.#book.request(over ? 0 : this.#places(now), this.#wanted(), now);
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
