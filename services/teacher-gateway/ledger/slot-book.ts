import { STARTS_VALID_MS } from './limits.ts';
import type { RateGrant, RateLimits, RateRequest } from './rate.ts';
import type { TokenRequest } from './token-window.ts';

/** A replica renews its places well within this; after it, it begins no call until it has renewed. */
export const SLOTS_VALID_MS = 6_000;

/** A call that may begin: the tokens that it may use at most, and where they are counted. */
export interface Permit {
  readonly tokens: number;
  readonly slice: number;
}

/** What a replica wants of a rate beside places. */
export interface Wanted {
  starts: number;
  tokens: Pick<TokenRequest, 'wants' | 'least'>;
}

/**
 * What one replica knows of its places in flight and its permissions to begin, between writes to the rate. Free of I/O;
 * times are of the monotonic clock. Places are used only for SLOTS_VALID_MS after the request that they came with.
 */
export class SlotBook {
  readonly #replica: string;
  readonly #callsOutliveMs: number;
  readonly #limits: RateLimits;
  #slots = 0;
  #cap = 0;
  #inFlight = 0;
  #starts = 0;
  /** Tokens at hand, of one slice. */
  #tokens = 0;
  #slice = 0;
  /** Tokens by slice that were handed out and not used. */
  #back = new Map<number, number>();
  #seq = 0;
  #slotsValidUntilMs = 0;
  #startsValidUntilMs = 0;
  #pending: (RateRequest & { createdMs: number }) | undefined;

  /**
   * @param callsOutliveMs how long a call that has begun may still be in flight after this process died
   */
  constructor(replica: string, callsOutliveMs: number, limits: RateLimits) {
    this.#replica = replica;
    this.#callsOutliveMs = callsOutliveMs;
    this.#limits = limits;
  }

  get pending(): RateRequest | undefined {
    return this.#pending;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get slots(): number {
    return this.#slots;
  }

  /** Places that it uses, which are fewer while others wait for some. */
  get cap(): number {
    return this.#cap;
  }

  hasSlot(nowMs: number): boolean {
    return this.#inFlight < this.#cap && nowMs < this.#slotsValidUntilMs;
  }

  /** The most tokens that a call counts for: one that could use more than a minute's takes a whole minute's. */
  tokensOf(bound: number): number {
    const { tokensPerMinute } = this.#limits;
    return tokensPerMinute === undefined ? 0 : Math.min(bound, tokensPerMinute);
  }

  /** Whether a call that may use so many tokens is permitted to begin. */
  mayStart(nowMs: number, bound: number): boolean {
    const { requestsPerMinute, tokensPerMinute } = this.#limits;
    if (requestsPerMinute === undefined && tokensPerMinute === undefined) return true;
    if (nowMs >= this.#startsValidUntilMs) return false;
    return (requestsPerMinute === undefined || this.#starts > 0) && this.#tokens >= this.tokensOf(bound);
  }

  /** Takes a place, a permission to begin and tokens; undefined when there is none. */
  begin(nowMs: number, bound: number): Permit | undefined {
    if (!this.hasSlot(nowMs) || !this.mayStart(nowMs, bound)) return undefined;
    const permit = { tokens: this.tokensOf(bound), slice: this.#slice };
    this.#inFlight += 1;
    this.#starts -= 1;
    this.#tokens -= permit.tokens;
    return permit;
  }

  /** The call used so many tokens; none where it was not made. */
  settle({ tokens, slice }: Permit, used: number): void {
    if (this.#limits.tokensPerMinute === undefined || used === tokens) return;
    this.#back.set(slice, (this.#back.get(slice) ?? 0) + tokens - used);
  }

  /** The place is free again. */
  end(): void {
    this.#inFlight -= 1;
  }

  /** Uses no more than this many places until the next outcome, so that others can have the rest. */
  limit(slots: number): void {
    this.#cap = Math.min(this.#cap, slots);
  }

  /** Asks for places and permissions. What is neither in flight nor within `wants` is given back with it. */
  request(wants: number, wanted: Wanted, nowMs: number): RateRequest {
    if (this.#pending) throw new Error('the request before this one has no outcome yet');
    this.#giveTokensBack();
    const keep = Math.min(this.#slots, Math.max(this.#inFlight, Math.min(this.#cap, wants)));
    this.#cap = keep;
    this.#seq += 1;
    this.#pending = {
      replica: this.#replica,
      seq: this.#seq,
      holding: this.#slots > 0,
      keep,
      wants,
      starts: wanted.starts,
      tokens: { ...wanted.tokens, back: this.backlog() },
      livesMs: SLOTS_VALID_MS + this.#callsOutliveMs,
      createdMs: nowMs,
    };
    return this.#pending;
  }

  /** Tokens that were handed out and not used, as far as that was not told yet. */
  backlog(): TokenRequest['back'] {
    return [...this.#back].map(([slice, tokens]) => ({ slice, tokens }));
  }

  #giveTokensBack(): void {
    this.settle({ tokens: this.#tokens, slice: this.#slice }, 0);
    this.#tokens = 0;
  }

  /** Takes over the outcome of the pending request. */
  confirm({ slots, starts, tokens }: RateGrant): void {
    if (!this.#pending) throw new Error('no request is pending');
    const { createdMs, tokens: told } = this.#pending;
    for (const { slice, tokens: back } of told.back) {
      const rest = this.#back.get(slice)! - back;
      if (rest === 0) this.#back.delete(slice);
      else this.#back.set(slice, rest);
    }
    this.#tokens = tokens.tokens;
    this.#slice = tokens.slice;
    this.#pending = undefined;
    this.#slots = slots;
    this.#cap = slots;
    this.#slotsValidUntilMs = createdMs + SLOTS_VALID_MS;
    this.#starts = starts;
    this.#startsValidUntilMs = createdMs + STARTS_VALID_MS;
  }
}
