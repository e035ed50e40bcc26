import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Amount,
  type Budget,
  isHopeless,
  nothing,
  parseBudget,
  plus,
  type Renewal,
  renewLease,
  totalsOf,
} from './budget.ts';
import { LeaseBook, type Reservation } from './lease-book.ts';
import { LeaseSightings } from './lease-sightings.ts';

const empty = parseBudget(undefined);
const noAhead = { calls: 0, microUsdEach: 0 };

const nobody: ReadonlySet<string> = new Set();

/** Writes a book's pending request to a budget, as its replica would. */
const write = (budget: Budget, limit: Amount, book: LeaseBook, overdue = nobody): Renewal =>
  renewLease(budget, limit, overdue, book.pending!);

describe('a budget', () => {
  test('grants what waits, whole or not at all, and no more than is left', () => {
    const limit = { calls: 3, microUsd: 100 };
    const book = new LeaseBook('a');
    book.request([40, 40, 40], noAhead, 1_000);
    const renewal = write(empty, limit, book);
    expect(renewal.lease).toEqual({ calls: 2, microUsd: 80 });
    book.confirm(renewal);
    expect(book.reserve(40)).toBeDefined();
    expect(book.reserve(40)).toBeDefined();
    expect(book.reserve(40)).toBeUndefined();
  });

  test('settles with the real cost, and what that leaves can be had by others', () => {
    const limit = { calls: 10, microUsd: 100 };
    const [a, b] = [new LeaseBook('a'), new LeaseBook('b')];
    a.request([100], noAhead, 1_000);
    let renewal = write(empty, limit, a);
    a.confirm(renewal);
    const reservation = a.reserve(100)!;
    b.request([50], noAhead, 1_000);
    expect(write(renewal.budget, limit, b).lease).toEqual(nothing);
    a.settle(reservation, 30);
    a.request([], noAhead, 1_000, true);
    renewal = write(renewal.budget, limit, a);
    expect(write(renewal.budget, limit, b).lease).toEqual({ calls: 1, microUsd: 50 });
    expect(totalsOf(renewal.budget, nobody)).toEqual({
      spent: { calls: 1, microUsd: 30 },
      reserved: nothing,
      expired: nothing,
    });
  });

  test('a lease that nobody settles in time counts as spent, for its owner too', () => {
    const limit = { calls: 4, microUsd: 0 };
    const [a, b] = [new LeaseBook('a'), new LeaseBook('b')];
    a.request([0, 0, 0], noAhead, 1_000);
    let renewal = write(empty, limit, a);
    a.confirm(renewal);
    const underWay = a.reserve(0)!;
    b.request([0, 0], noAhead, 3_000);
    renewal = write(renewal.budget, limit, b, new Set(['a']));
    expect(renewal.lease).toEqual({ calls: 1, microUsd: 0 });
    expect(totalsOf(renewal.budget, nobody).expired).toEqual({ calls: 3, microUsd: 0 });
    a.settle(underWay, 0);
    a.request([0], noAhead, 3_000);
    renewal = write(renewal.budget, limit, a);
    expect(renewal).toMatchObject({ lost: true, lease: nothing });
    expect(renewal.budget.settled).toEqual(nothing);
    expect(isHopeless(renewal.budget, limit, 0, 0)).toBe(false);
  });

  test('a write whose answer got lost is recognised and not applied again', () => {
    const limit = { calls: 10, microUsd: 0 };
    const book = new LeaseBook('a');
    book.request([0], noAhead, 1_000);
    const first = write(empty, limit, book);
    const again = write(first.budget, limit, book);
    expect(again).toMatchObject({ done: true, lease: { calls: 1, microUsd: 0 } });
    expect(again.budget).toEqual(first.budget);
  });

  test('is hopeless only when nothing that is leased could make room', () => {
    const limit = { calls: 2, microUsd: 100 };
    const leased = { ...empty, leases: { b: { calls: 2, microUsd: 100, seq: 1, livesMs: 1 } } };
    expect(isHopeless(leased, limit, 0, 50)).toBe(false);
    expect(isHopeless({ ...empty, settled: { calls: 2, microUsd: 0 } }, limit, 0, 50)).toBe(true);
    expect(isHopeless({ ...empty, settled: { calls: 0, microUsd: 60 } }, limit, 0, 50)).toBe(true);
    expect(isHopeless(empty, limit, 2, 0)).toBe(true);
  });

  test('a call that broke off keeps what was reserved for it', () => {
    const limit = { calls: 10, microUsd: 100 };
    const book = new LeaseBook('a');
    book.request([40, 40], noAhead, 1_000);
    let renewal = write(empty, limit, book);
    book.confirm(renewal);
    book.settle(book.reserve(40)!, 10);
    book.leaveUnsettled(book.reserve(40)!);
    expect(book.untold).toBe(true);
    book.request([], noAhead, 1_000, true);
    renewal = write(renewal.budget, limit, book);
    book.confirm(renewal);
    expect(book.untold).toBe(false);
    expect(totalsOf(renewal.budget, nobody)).toEqual({
      spent: { calls: 2, microUsd: 50 },
      reserved: nothing,
      expired: { calls: 1, microUsd: 40 },
    });
  });

  test('a damaged value is refused, not spent on', () => {
    expect(() => parseBudget('{"settled":{"calls":-1}}')).toThrow(/damaged/);
  });
});

describe('a lease is overdue', () => {
  const leases = (seq: number) => ({ leases: { a: { calls: 1, microUsd: 0, seq, livesMs: 1_000 } } });

  test('once it was seen unrenewed for all of its time', () => {
    const sightings = new LeaseSightings();
    expect(sightings.overdue(leases(1), 5_000)).toEqual(nobody);
    expect(sightings.overdue(leases(1), 5_999)).toEqual(nobody);
    expect(sightings.overdue(leases(1), 6_000)).toEqual(new Set(['a']));
  });

  test('not while it is renewed, however seldom that is seen', () => {
    const sightings = new LeaseSightings();
    for (const [seq, ms] of [0, 900, 5_000, 90_000].entries()) {
      expect(sightings.overdue(leases(seq + 1), ms)).toEqual(nobody);
    }
  });

  test('not when it is given back and taken again', () => {
    const sightings = new LeaseSightings();
    sightings.overdue(leases(1), 0);
    sightings.overdue({ leases: {} }, 500);
    expect(sightings.overdue(leases(1), 1_200)).toEqual(nobody);
  });
});

/** A replica as the property test drives it: its book, the calls under way, and a write whose outcome it has not heard. */
interface Replica {
  book: LeaseBook;
  underWay: Reservation[];
}

type Step =
  | { kind: 'reserve'; replica: number; microUsd: number }
  | { kind: 'finish'; replica: number; share: number; how: 'settled' | 'unsettled' | 'cancelled' }
  | { kind: 'write'; replica: number; wants: number[]; ahead: number; giveBack: boolean; heard: boolean }
  | { kind: 'race'; first: number; second: number }
  | { kind: 'crash'; replica: number }
  | { kind: 'clock'; over: boolean };

const replicaCount = 3;
const replica = fc.nat(replicaCount - 1);
const microUsd = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 30 }));

const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('reserve' as const), replica, microUsd }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('finish' as const),
      replica,
      share: fc.double({ min: 0, max: 1, noNaN: true }),
      how: fc.constantFrom('settled' as const, 'unsettled' as const, 'cancelled' as const),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      replica,
      wants: fc.oneof(fc.constant<number[]>([]), fc.array(microUsd, { maxLength: 8 })),
      ahead: fc.nat(10),
      giveBack: fc.boolean(),
      heard: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('race' as const), first: replica, second: replica }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('crash' as const), replica }) },
  // Whoever writes may take every other's lease for overdue, rightly or not.
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('clock' as const), over: fc.boolean() }) },
);

test('whatever replicas, crashes, lost answers and clocks do, no more is called or paid than the budget allows', () => {
  let granted = 0;
  let crashes = 0;
  let lost = 0;
  fc.assert(
    fc.property(
      fc.array(steps, { minLength: 40, maxLength: 120 }),
      fc.record({ calls: fc.nat(8), microUsd: fc.nat(120) }),
      (sequence, limit) => {
        let budget = empty;
        let over = false;
        let born = 0;
        let made = nothing;
        const fresh = (): Replica => ({ book: new LeaseBook(`replica-${born++}`), underWay: [] });
        const replicas = Array.from({ length: replicaCount }, fresh);
        // What is under way could cost its bound at any moment: it counts.
        const total = () =>
          replicas
            .flatMap((one) => one.underWay)
            .reduce((sum, r) => plus(sum, { calls: 1, microUsd: r.microUsd }), made);
        const commit = (one: Replica, heard: boolean) => {
          const renewal = write(budget, limit, one.book, over ? new Set(Object.keys(budget.leases)) : nobody);
          budget = renewal.budget;
          if (renewal.lost) lost += 1;
          if (heard) one.book.confirm(renewal);
        };
        for (const step of sequence) {
          if (step.kind === 'clock') over = step.over;
          else if (step.kind === 'reserve') {
            const one = replicas[step.replica]!;
            const reservation = one.book.reserve(step.microUsd);
            if (reservation) {
              one.underWay.push(reservation);
              granted += 1;
            }
          } else if (step.kind === 'finish') {
            const one = replicas[step.replica]!;
            const reservation = one.underWay.shift();
            if (!reservation) continue;
            if (step.how === 'cancelled') one.book.cancel(reservation);
            else {
              // A call that broke off costs something too, and nobody hears what.
              const cost = Math.floor(reservation.microUsd * step.share);
              if (step.how === 'settled') one.book.settle(reservation, cost);
              else one.book.leaveUnsettled(reservation);
              made = plus(made, { calls: 1, microUsd: cost });
            }
          } else if (step.kind === 'write') {
            const one = replicas[step.replica]!;
            if (!one.book.pending) {
              const ahead = { calls: step.ahead, microUsdEach: 10 };
              one.book.request(step.wants, ahead, 50, step.giveBack && step.wants.length === 0);
            }
            commit(one, step.heard);
          } else if (step.kind === 'race') {
            // Both decide on the same value; compare-and-set lets one of them write, the other decides anew.
            const [first, second] = [replicas[step.first]!, replicas[step.second]!];
            for (const one of [first, second]) if (!one.book.pending) one.book.request([5], noAhead, 50);
            commit(first, true);
            if (first !== second) commit(second, true);
          } else {
            const dead = replicas[step.replica]!;
            made = dead.underWay.reduce((sum, r) => plus(sum, { calls: 1, microUsd: r.microUsd }), made);
            replicas[step.replica] = fresh();
            crashes += 1;
          }
          const { spent, reserved } = totalsOf(budget, nobody);
          expect(plus(spent, reserved).microUsd).toBeGreaterThanOrEqual(total().microUsd);
          expect(plus(spent, reserved).calls).toBeGreaterThanOrEqual(total().calls);
          expect(total().calls).toBeLessThanOrEqual(limit.calls);
          expect(total().microUsd).toBeLessThanOrEqual(limit.microUsd);
        }
      },
    ),
    { numRuns: 2_000 },
  );
  // The runs did reach what they are about.
  expect(granted).toBeGreaterThan(1_000);
  expect(crashes).toBeGreaterThan(1_000);
  expect(lost).toBeGreaterThan(100);
});
