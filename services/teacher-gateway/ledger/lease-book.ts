import { type Amount, isNothing, type LeaseRequest, minus, nothing, plus, type Renewal } from './budget.ts';

/** One call that may be made: its bound stays reserved until it is settled or cancelled. */
export interface Reservation {
  readonly microUsd: number;
  readonly epoch: number;
}

export interface Ahead {
  calls: number;
  microUsdEach: number;
}

/**
 * What one replica knows of its lease, between writes to the budget. Free of I/O: whoever writes takes a request, writes
 * it until the outcome is known, and confirms. At any moment, a crash included, the lease in the budget covers all that was
 * spent of it and all that is under way.
 */
export class LeaseBook {
  readonly #replica: string;
  #lease: Amount = nothing;
  /** Spent of the lease, not yet told. */
  #spent: Amount = nothing;
  /** Of the lease, reserved for calls that broke off, not yet told. */
  #unsettled: Amount = nothing;
  /** Reserved for calls under way. */
  #held: Amount = nothing;
  #seq = 0;
  /** Calls that began under a lease that was written off since are settled by that. */
  #epoch = 0;
  #pending: LeaseRequest | undefined;
  #frozen = false;

  constructor(replica: string) {
    this.#replica = replica;
  }

  get pending(): LeaseRequest | undefined {
    return this.#pending;
  }

  get callsUnderWay(): number {
    return this.#held.calls;
  }

  /** Whether something is to be told. */
  get untold(): boolean {
    return !isNothing(this.#gone);
  }

  get leased(): boolean {
    return !isNothing(this.#lease);
  }

  get available(): Amount {
    return minus(minus(this.#lease, this.#gone), this.#held);
  }

  get #gone(): Amount {
    return plus(this.#spent, this.#unsettled);
  }

  /** Undefined when the lease has no room for it. */
  reserve(microUsd: number): Reservation | undefined {
    const { calls, microUsd: left } = this.available;
    if (this.#frozen || calls < 1 || left < microUsd) return undefined;
    this.#held = plus(this.#held, { calls: 1, microUsd });
    return { microUsd, epoch: this.#epoch };
  }

  /** The call was made and cost this much. */
  settle(reservation: Reservation, spentMicroUsd: number): void {
    if (!this.#release(reservation)) return;
    this.#spent = plus(this.#spent, { calls: 1, microUsd: spentMicroUsd });
  }

  /** The call was made, and nobody will know what it cost: what was reserved counts as spent. */
  leaveUnsettled(reservation: Reservation): void {
    if (!this.#release(reservation)) return;
    this.#unsettled = plus(this.#unsettled, { calls: 1, microUsd: reservation.microUsd });
  }

  /** The call was not made. */
  cancel(reservation: Reservation): void {
    this.#release(reservation);
  }

  #release({ microUsd, epoch }: Reservation): boolean {
    if (epoch !== this.#epoch) return false;
    this.#held = minus(this.#held, { calls: 1, microUsd });
    return true;
  }

  /**
   * Begins a request: settles, and asks for the calls that wait and more. While it is under way nothing can be reserved if
   * calls wait or `giveBack` is set, because then what is left of the lease is given back with it.
   */
  request(wants: readonly number[], ahead: Ahead, livesMs: number, giveBack = false): LeaseRequest {
    if (this.#pending) throw new Error('the request before this one has no outcome yet');
    this.#frozen = giveBack || wants.length > 0;
    const rest = minus(this.#lease, this.#gone);
    this.#pending = {
      replica: this.#replica,
      seq: this.#seq + 1,
      leased: this.leased,
      spent: this.#spent,
      unsettled: this.#unsettled,
      // A call that cost more than its bound leaves less than nothing.
      keep: this.#frozen
        ? this.#held
        : { calls: Math.max(rest.calls, this.#held.calls), microUsd: Math.max(rest.microUsd, this.#held.microUsd) },
      wants,
      ahead,
      livesMs,
    };
    return this.#pending;
  }

  /** Takes over the outcome of the pending request. */
  confirm({ lease, lost }: Renewal): void {
    const request = this.#pending;
    if (!request) throw new Error('no request is pending');
    this.#pending = undefined;
    this.#frozen = false;
    this.#seq = request.seq;
    this.#lease = lease;
    if (!lost) {
      this.#spent = minus(this.#spent, request.spent);
      this.#unsettled = minus(this.#unsettled, request.unsettled);
      return;
    }
    this.#epoch += 1;
    this.#spent = nothing;
    this.#unsettled = nothing;
    this.#held = nothing;
  }
}
