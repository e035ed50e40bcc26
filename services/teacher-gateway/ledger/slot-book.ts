import { type RateGrant, type RateRequest, STARTS_VALID_MS } from './rate.ts';

/** A replica renews its places well within this; after it, it begins no call until it has renewed. */
export const SLOTS_VALID_MS = 6_000;

/**
 * What one replica knows of its places in flight and its permissions to begin, between writes to the rate. Free of I/O;
 * times are of the monotonic clock. Places are used only for SLOTS_VALID_MS after the request that they came with.
 */
export class SlotBook {
  readonly #replica: string;
  readonly #callsOutliveMs: number;
  readonly #paced: boolean;
  #slots = 0;
  #cap = 0;
  #inFlight = 0;
  #starts = 0;
  #seq = 0;
  #slotsValidUntilMs = 0;
  #startsValidUntilMs = 0;
  #pending: (RateRequest & { createdMs: number }) | undefined;

  /**
   * @param callsOutliveMs how long a call that has begun may still be in flight after this process died
   * @param paced whether the requests per minute are limited
   */
  constructor(replica: string, callsOutliveMs: number, paced: boolean) {
    this.#replica = replica;
    this.#callsOutliveMs = callsOutliveMs;
    this.#paced = paced;
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

  mayStart(nowMs: number): boolean {
    return !this.#paced || (this.#starts > 0 && nowMs < this.#startsValidUntilMs);
  }

  /** Takes a place and a permission to begin; false when there is none. */
  begin(nowMs: number): boolean {
    if (!this.hasSlot(nowMs) || !this.mayStart(nowMs)) return false;
    this.#inFlight += 1;
    this.#starts -= 1;
    return true;
  }

  end(): void {
    this.#inFlight -= 1;
  }

  /** Uses no more than this many places until the next outcome, so that others can have the rest. */
  limit(slots: number): void {
    this.#cap = Math.min(this.#cap, slots);
  }

  /** Asks for places and permissions. What is neither in flight nor within `wants` is given back with it. */
  request(wants: number, starts: number, nowMs: number): RateRequest {
    if (this.#pending) throw new Error('the request before this one has no outcome yet');
    const keep = Math.min(this.#slots, Math.max(this.#inFlight, Math.min(this.#cap, wants)));
    this.#cap = keep;
    this.#seq += 1;
    this.#pending = {
      replica: this.#replica,
      seq: this.#seq,
      holding: this.#slots > 0,
      keep,
      wants,
      starts,
      livesMs: SLOTS_VALID_MS + this.#callsOutliveMs,
      createdMs: nowMs,
    };
    return this.#pending;
  }

  /** Takes over the outcome of the pending request. */
  confirm({ slots, starts }: RateGrant): void {
    if (!this.#pending) throw new Error('no request is pending');
    const { createdMs } = this.#pending;
    this.#pending = undefined;
    this.#slots = slots;
    this.#cap = slots;
    this.#slotsValidUntilMs = createdMs + SLOTS_VALID_MS;
    this.#starts = starts;
    this.#startsValidUntilMs = createdMs + STARTS_VALID_MS;
  }
}
