import type { Budget } from './budget.ts';

interface Sighting {
  seq: number;
  sinceMs: number;
}

/**
 * Since when a process has seen each lease of one budget as it is, on its own monotonic clock. A holder that lives renews its
 * lease well within its time, and each renewal has a number of its own: so a lease that was seen with the same number for all of
 * its time is nobody's any more, whatever any clock says, and however seldom the budget was looked at.
 */
export class LeaseSightings {
  #seen = new Map<string, Sighting>();

  /** Those of the budget's leases, by their holders, that nobody renewed in time. */
  overdue({ leases }: Pick<Budget, 'leases'>, monotonicMs: number): ReadonlySet<string> {
    const overdue = new Set<string>();
    const seen = new Map<string, Sighting>();
    for (const [holder, { seq, livesMs }] of Object.entries(leases)) {
      const before = this.#seen.get(holder);
      const sinceMs = before?.seq === seq ? before.sinceMs : monotonicMs;
      seen.set(holder, { seq, sinceMs });
      if (monotonicMs - sinceMs >= livesMs) overdue.add(holder);
    }
    this.#seen = seen;
    return overdue;
  }
}
