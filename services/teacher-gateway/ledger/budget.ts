/**
 * Decisions about one budget that several replicas spend, free of I/O. The budget is one value that is changed by
 * compare-and-set: each replica leases a block of calls and money, spends it without asking anybody, and settles.
 * What was settled, what expired unsettled and what is leased never exceed the limit together, whatever any clock says:
 * time decides only when a lease that nobody renews is written off as spent, never that any of it comes back.
 */
import { z } from 'zod';

/** A lease is renewed well within this; what a dead replica leaves unsettled counts as spent after it. */
export const DEFAULT_LEASE_MS = 15_000;

export const amount = z.strictObject({ calls: z.int().min(0), microUsd: z.int().min(0) });

const budgetSchema = z.object({
  settled: amount,
  /** Of leases that nobody settled in time, and of calls of which nobody knows whether they were charged: counts as spent. */
  expired: amount,
  leases: z.record(
    z.string(),
    // Not strict, and with a time where none is said: leases once had an end of their own.
    z.object({ ...amount.shape, seq: z.int().min(1), livesMs: z.number().min(0).default(DEFAULT_LEASE_MS) }),
  ),
});

/** Calls to a teacher and what they cost, in millionths of a US dollar. */
export type Amount = z.infer<typeof amount>;
export type Budget = z.infer<typeof budgetSchema>;

export const nothing: Amount = { calls: 0, microUsd: 0 };
export const plus = (a: Amount, b: Amount): Amount => ({ calls: a.calls + b.calls, microUsd: a.microUsd + b.microUsd });
export const minus = (a: Amount, b: Amount): Amount => ({
  calls: a.calls - b.calls,
  microUsd: a.microUsd - b.microUsd,
});
const larger = (a: Amount, b: Amount): Amount => ({
  calls: Math.max(a.calls, b.calls),
  microUsd: Math.max(a.microUsd, b.microUsd),
});
export const isNothing = ({ calls, microUsd }: Amount): boolean => calls === 0 && microUsd === 0;

/** A budget as stored; a new one where nothing is. Throws on anything else: money is not spent on a guess. */
export const parseBudget = (text: string | undefined): Budget =>
  text === undefined
    ? { settled: nothing, expired: nothing, leases: {} }
    : budgetSchema.parse(JSON.parse(text), { error: () => 'the ledger is damaged: expected a budget as JSON' });

/** What a replica wants to change about its lease. */
export interface LeaseRequest {
  replica: string;
  /** One more with each request of the replica: a repeated write is recognised by it. */
  seq: number;
  /** Whether the replica believes to have a lease. */
  leased: boolean;
  /** Of the lease, spent since the last request. */
  spent: Amount;
  /** Of the lease, reserved for calls that broke off since the last request: what they cost will never be known. */
  unsettled: Amount;
  /** Of the lease, what stays with the replica whatever is granted. */
  keep: Amount;
  /** Bounds of the calls that wait, in order; each is granted whole or not at all. */
  wants: readonly number[];
  /** Calls wanted beyond those, for what comes next, each with this bound. */
  ahead: { calls: number; microUsdEach: number };
  /** How long the lease lives if it is not renewed. */
  livesMs: number;
}

export interface Renewal {
  budget: Budget;
  /** What the replica may spend from now on, calls under way included. */
  lease: Amount;
  /** The lease had been written off; all of it counts as spent, and what was under way under it needs no settling. */
  lost: boolean;
  /** Nothing to write: this very request was written already. */
  done: boolean;
}

/**
 * Settles what a replica spent and gives it what it asks for, as far as the limit allows.
 * @param overdue holders that did not renew their leases in time (`LeaseSightings`)
 */
export const renewLease = (
  before: Budget,
  limit: Amount,
  overdue: ReadonlySet<string>,
  request: LeaseRequest,
): Renewal => {
  const own = before.leases[request.replica];
  if (own?.seq === request.seq) {
    return { budget: before, lease: { calls: own.calls, microUsd: own.microUsd }, lost: false, done: true };
  }
  const lost = request.leased && own === undefined;
  const { expired: writtenOff, others } = writeOff(before, request.replica, overdue);
  const settled = lost ? before.settled : plus(before.settled, request.spent);
  const expired = lost ? writtenOff : plus(writtenOff, request.unsettled);
  const keep = lost ? nothing : request.keep;
  const leased = Object.values(others).reduce<Amount>(plus, nothing);
  const free = minus(minus(minus(limit, settled), expired), leased);
  const lease = granted(free, keep, request, Object.keys(others).length);
  const leases = isNothing(lease)
    ? others
    : { ...others, [request.replica]: { ...lease, seq: request.seq, livesMs: request.livesMs } };
  return { budget: { settled, expired, leases }, lease, lost, done: false };
};

/** Leases of others whose time is over are spent. */
const writeOff = (budget: Budget, replica: string, overdue: ReadonlySet<string>) => {
  let expired = budget.expired;
  const others: Budget['leases'] = {};
  for (const [name, lease] of Object.entries(budget.leases)) {
    if (name === replica) continue;
    if (overdue.has(name)) expired = plus(expired, { calls: lease.calls, microUsd: lease.microUsd });
    else others[name] = lease;
  }
  return { expired, others };
};

/** Near its end a budget is leased in small pieces, so that the last calls are not held by a replica that is idle. */
const granted = (free: Amount, keep: Amount, { wants, ahead }: LeaseRequest, others: number): Amount => {
  let lease = keep;
  for (const microUsd of wants) {
    const next = plus(lease, { calls: 1, microUsd });
    if (next.calls > free.calls || next.microUsd > free.microUsd) return lease;
    lease = next;
  }
  const left = minus(free, lease);
  const portion = 2 * (others + 1);
  const affordable = ahead.microUsdEach > 0 ? left.microUsd / portion / ahead.microUsdEach : Number.POSITIVE_INFINITY;
  const calls = Math.max(0, Math.floor(Math.min(ahead.calls, left.calls / portion, affordable)));
  return larger(keep, plus(lease, { calls, microUsd: calls * ahead.microUsdEach }));
};

/**
 * True when a call with this bound can never be afforded, even if all that is leased came back unspent.
 * @param callsUnderWay calls of the asking replica that will count whatever they cost
 */
export const isHopeless = (budget: Budget, limit: Amount, callsUnderWay: number, microUsd: number): boolean => {
  const gone = plus(budget.settled, budget.expired);
  return gone.calls + callsUnderWay + 1 > limit.calls || gone.microUsd + microUsd > limit.microUsd;
};

export interface BudgetTotals {
  /** Settled and expired. */
  spent: Amount;
  /** Leased, and not known to be over its time. */
  reserved: Amount;
  expired: Amount;
}

export const totalsOf = (budget: Budget, overdue: ReadonlySet<string>): BudgetTotals => {
  const { expired, others } = writeOff(budget, '', overdue);
  return {
    spent: plus(budget.settled, expired),
    reserved: Object.values(others).reduce<Amount>(plus, nothing),
    expired,
  };
};
