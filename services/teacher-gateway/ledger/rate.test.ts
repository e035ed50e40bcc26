import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseRate, type Rate, type RateLimits, renewHolding, spacingOf, startsInMs } from './rate.ts';
import { Sightings } from './sightings.ts';
import { SLOTS_VALID_MS, SlotBook } from './slot-book.ts';

const empty = parseRate(undefined);
const asks = (replica: string, wants: number, more: object = {}) => ({
  replica,
  seq: 1,
  holding: false,
  keep: 0,
  wants,
  starts: 0,
  livesMs: 1_000,
  ...more,
});

describe('places in flight', () => {
  const limits = { concurrency: 10 };

  test('all go to a replica that is alone, up to what it wants', () => {
    expect(renewHolding(empty, limits, 0, asks('a', 16)).slots).toBe(10);
    expect(renewHolding(empty, limits, 0, asks('a', 4)).slots).toBe(4);
  });

  test('a second replica gets its fair share once the first gives back what is above its own', () => {
    let rate = renewHolding(empty, limits, 0, asks('a', 16)).rate;
    let grant = renewHolding(rate, limits, 0, asks('b', 16));
    expect(grant.slots).toBe(0);
    rate = grant.rate;
    grant = renewHolding(rate, limits, 0, asks('a', 16, { seq: 2, holding: true, keep: 7 }));
    expect(grant.slots).toBe(7);
    grant = renewHolding(grant.rate, limits, 0, asks('a', 16, { seq: 3, holding: true, keep: 5 }));
    expect(grant.slots).toBe(5);
    expect(renewHolding(grant.rate, limits, 0, asks('b', 16, { seq: 2 })).slots).toBe(5);
  });

  test('one that wants little leaves the rest to others', () => {
    const rate = renewHolding(empty, limits, 0, asks('a', 2)).rate;
    expect(renewHolding(rate, limits, 0, asks('b', 16)).slots).toBe(8);
  });

  test('those of a dead replica are free when its time is over, not before', () => {
    const rate = renewHolding(empty, limits, 0, asks('a', 16)).rate;
    expect(renewHolding(rate, limits, 999, asks('b', 16)).slots).toBe(0);
    expect(renewHolding(rate, limits, 1_000, asks('b', 16)).slots).toBe(10);
  });

  test('with fewer places than replicas each has its turn', () => {
    const single = { concurrency: 1 };
    const turns = new Set<string>();
    for (let nowMs = 0; nowMs < 10_000; nowMs += 500) {
      let rate = empty;
      for (const name of ['a', 'b', 'c']) rate = renewHolding(rate, single, 0, asks(name, 0, { keep: 0 })).rate;
      const holdings = Object.fromEntries(
        ['a', 'b', 'c'].map((name) => [name, { seq: 1, slots: 0, wants: 4, starts: 0, expiresAtMs: 1e9 }]),
      );
      for (const name of ['a', 'b', 'c']) {
        const { slots } = renewHolding({ ...rate, holdings }, single, nowMs, asks(name, 4, { seq: 2 }));
        if (slots === 1) turns.add(name);
      }
    }
    expect([...turns].toSorted()).toEqual(['a', 'b', 'c']);
  });
});

describe('requests per minute', () => {
  test.each([1, 2, 7, 60, 600, 60_000])('no window of a minute sees more than %i beginnings', (requestsPerMinute) => {
    const { spacingMs, burst } = spacingOf(requestsPerMinute);
    // The densest train: a full burst, then one permission at a time, the first used as late as it may be.
    const permitted = Math.floor(burst + (60_000 + 2_000) / spacingMs);
    expect(permitted).toBeLessThanOrEqual(requestsPerMinute);
    expect(permitted).toBeGreaterThanOrEqual(Math.floor(requestsPerMinute * 0.9));
  });

  test('says how long to wait for the next', () => {
    const limits = { concurrency: 10, requestsPerMinute: 60 };
    const { rate, starts } = renewHolding(empty, limits, 0, asks('a', 4, { starts: 10 }));
    expect(starts).toBe(2);
    const waitMs = startsInMs(rate, 60, 0);
    expect(waitMs).toBeGreaterThan(0);
    expect(renewHolding(rate, limits, waitMs - 1, asks('b', 4, { starts: 10 })).starts).toBe(0);
    expect(renewHolding(rate, limits, waitMs + 1, asks('b', 4, { starts: 10 })).starts).toBe(1);
  });
});

/** Real time, which no replica knows; each sees only how its own monotonic clock, with an origin of its own, advances. */
interface Replica {
  book: SlotBook;
  sightings: Sightings;
  originMs: number;
  calls: { endsAtMs: number }[];
}

type Step =
  | { kind: 'pass'; ms: number }
  | { kind: 'begin'; replica: number; lastsShare: number }
  | { kind: 'write'; replica: number; wants: number; starts: number; heard: boolean; watched: boolean }
  | { kind: 'watch'; replica: number }
  | { kind: 'yield'; replica: number; slots: number }
  | { kind: 'crash'; replica: number };

const replicaCount = 3;
const callMs = 3_000;
const replica = fc.nat(replicaCount - 1);
const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('pass' as const),
      ms: fc.oneof(
        { weight: 4, arbitrary: fc.nat(300) },
        { weight: 1, arbitrary: fc.integer({ min: 5_000, max: 7_000 }) },
        { weight: 1, arbitrary: fc.nat(12_000) },
      ),
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant('begin' as const),
      replica,
      lastsShare: fc.oneof(fc.constant(1), fc.double({ min: 0, max: 1, noNaN: true })),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      replica,
      wants: fc.nat(6),
      starts: fc.nat(5),
      heard: fc.integer({ min: 0, max: 3 }).map((die) => die > 0),
      watched: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('watch' as const), replica }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('yield' as const), replica, slots: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('crash' as const), replica }) },
);

test('the place of a replica that dies is free soon after its last call must have ended, and never before', () => {
  const limits = { concurrency: 1 };
  fc.assert(
    fc.property(fc.nat(8_000), fc.nat(callMs), fc.nat(5_000), (beginsAtMs, lastsMs, seenAtMs) => {
      const dying = new SlotBook('a', callMs, false);
      const first = renewHolding(empty, limits, 0, dying.request(1, 0, 0));
      dying.confirm(first);
      const began = dying.begin(beginsAtMs);
      expect(began).toBe(beginsAtMs < SLOTS_VALID_MS);
      const sightings = new Sightings();
      let rate = first.rate;
      let realMs = seenAtMs;
      let seq = 0;
      for (;;) {
        const nowMs = sightings.nowMs(rate, realMs);
        const grant = renewHolding(rate, limits, nowMs, asks('b', 1, { seq: ++seq, livesMs: 1_000_000 }));
        rate = grant.rate;
        sightings.see(rate.turn, realMs);
        if (grant.slots === 1) break;
        realMs += 50;
      }
      if (began) expect(realMs).toBeGreaterThanOrEqual(beginsAtMs + lastsMs);
      expect(realMs).toBeLessThanOrEqual(seenAtMs + SLOTS_VALID_MS + callMs + 50);
    }),
  );
});

test('whatever replicas, crashes, lost answers and late news do, no more is in flight or begun than the rate allows', () => {
  let begun = 0;
  let full = 0;
  let takenOver = 0;
  fc.assert(
    fc.property(
      fc.array(steps, { minLength: 40, maxLength: 200 }),
      fc.record({
        concurrency: fc.integer({ min: 1, max: 5 }),
        requestsPerMinute: fc.option(fc.integer({ min: 1, max: 40 }), { nil: undefined }),
      }),
      (sequence, limits: RateLimits) => {
        let rate: Rate = empty;
        let realMs = 0;
        let born = 0;
        const beginnings: number[] = [];
        let orphans: { endsAtMs: number }[] = [];
        const fresh = (): Replica => ({
          book: new SlotBook(`replica-${born++}`, callMs, limits.requestsPerMinute !== undefined),
          sightings: new Sightings(),
          originMs: realMs - born * 1_000_000,
          calls: [],
        });
        const replicas = Array.from({ length: replicaCount }, fresh);
        for (const step of sequence) {
          if (step.kind === 'pass') {
            realMs += step.ms;
            orphans = orphans.filter(({ endsAtMs }) => endsAtMs > realMs);
            for (const one of replicas) {
              for (const call of one.calls) if (call.endsAtMs <= realMs) one.book.end();
              one.calls = one.calls.filter(({ endsAtMs }) => endsAtMs > realMs);
            }
            continue;
          }
          const one = replicas[step.replica]!;
          const monotonicMs = realMs - one.originMs;
          if (step.kind === 'begin') {
            if (!one.book.begin(monotonicMs)) continue;
            one.calls.push({ endsAtMs: realMs + step.lastsShare * callMs });
            beginnings.push(realMs);
            begun += 1;
          } else if (step.kind === 'watch') one.sightings.see(rate.turn, monotonicMs);
          else if (step.kind === 'yield') one.book.limit(step.slots);
          else if (step.kind === 'write') {
            const request = one.book.pending ?? one.book.request(step.wants, step.starts, monotonicMs);
            const holders = Object.keys(rate.holdings).length;
            const grant = renewHolding(rate, limits, one.sightings.nowMs(rate, monotonicMs), request);
            if (Object.keys(grant.rate.holdings).length < holders) takenOver += 1;
            rate = grant.rate;
            if (step.watched) for (const each of replicas) each.sightings.see(rate.turn, realMs - each.originMs);
            if (step.heard) {
              one.book.confirm(grant);
              one.sightings.see(rate.turn, monotonicMs);
            }
          } else {
            orphans.push(...one.calls);
            replicas[step.replica] = fresh();
          }
          const inFlight = orphans.length + replicas.reduce((sum, { calls }) => sum + calls.length, 0);
          expect(inFlight).toBeLessThanOrEqual(limits.concurrency);
          if (inFlight === limits.concurrency) full += 1;
          const lastMinute = beginnings.filter((atMs) => atMs > realMs - 60_000).length;
          expect(lastMinute).toBeLessThanOrEqual(limits.requestsPerMinute ?? Number.POSITIVE_INFINITY);
        }
      },
    ),
    { numRuns: 2_000 },
  );
  expect(begun).toBeGreaterThan(1_000);
  expect(full).toBeGreaterThan(500);
  expect(takenOver).toBeGreaterThan(500);
});
