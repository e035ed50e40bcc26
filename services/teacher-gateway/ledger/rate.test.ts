import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseRate, type Rate, type RateLimits, renewHolding, spacingOf, startsInMs } from './rate.ts';
import { Sightings } from './sightings.ts';
import { type Permit, SLOTS_VALID_MS, SlotBook } from './slot-book.ts';
import { NO_TOKENS } from './token-window.ts';

const empty = parseRate(undefined);
const noTokens = { wants: 0, least: 0, back: [] };
const onlyPlaces = { starts: 0, tokens: { wants: 0, least: 0 } };
const asks = (replica: string, wants: number, more: object = {}) => ({
  replica,
  seq: 1,
  holding: false,
  keep: 0,
  wants,
  starts: 0,
  tokens: noTokens,
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
        ['a', 'b', 'c'].map((name) => [
          name,
          { seq: 1, slots: 0, wants: 4, starts: 0, tokens: NO_TOKENS, expiresAtMs: 1e9 },
        ]),
      );
      for (const name of ['a', 'b', 'c']) {
        const { slots } = renewHolding({ ...rate, holdings }, single, nowMs, asks(name, 4, { seq: 2 }));
        if (slots === 1) turns.add(name);
      }
    }
    expect([...turns].toSorted()).toEqual(['a', 'b', 'c']);
  });
});

describe('tokens per minute', () => {
  const limits = { concurrency: 10, tokensPerMinute: 10_000 };
  const wanting = (wants: number, more: object = {}) =>
    asks('a', 4, { tokens: { wants, least: wants, back: [] }, ...more });

  test('a tenth of them at once, then as time goes by', () => {
    const first = renewHolding(empty, limits, 0, wanting(1_000));
    expect(first.tokens).toEqual({ slice: 0, tokens: 1_000 });
    expect(renewHolding(first.rate, limits, 0, wanting(1, { seq: 2 })).tokens.tokens).toBe(0);
    expect(renewHolding(first.rate, limits, 7_000, wanting(1_000, { seq: 2 })).tokens.tokens).toBe(1_000);
  });

  test('what was not used comes back to where it was taken from', () => {
    const { rate, tokens } = renewHolding(empty, limits, 0, wanting(1_000));
    const back = [{ slice: tokens.slice, tokens: 900 }];
    const next = renewHolding(rate, limits, 0, wanting(0, { seq: 2, tokens: { wants: 900, least: 900, back } }));
    expect(next.tokens.tokens).toBe(900);
  });

  test('what a holder gave back and heard nothing of does not come back twice, once its time is over', () => {
    const { rate } = renewHolding(empty, limits, 0, wanting(1_000));
    const back = [{ slice: 0, tokens: 500 }];
    const giving = wanting(0, { seq: 2, holding: true, tokens: { wants: 0, least: 0, back } });
    const unheard = renewHolding(rate, limits, 0, giving).rate;
    const others = renewHolding(unheard, limits, 2_000, asks('b', 4, { livesMs: 60_000 })).rate;
    const again = renewHolding(others, limits, 2_000, giving);
    expect(again.rate.tokens).toEqual([{ slice: 0, tokens: 500 }]);
  });

  test('a call that could use more than a minute has takes a whole minute, once', () => {
    const book = new SlotBook('a', 0, limits);
    expect(book.tokensOf(50_000)).toBe(10_000);
    const { rate, tokens } = renewHolding(empty, limits, 0, wanting(10_000));
    expect(tokens.tokens).toBe(10_000);
    expect(renewHolding(rate, limits, 60_000, wanting(1, { seq: 2 })).tokens.tokens).toBe(0);
    expect(renewHolding(rate, limits, 64_000, wanting(1, { seq: 2 })).tokens.tokens).toBe(1);
  });

  test('a value of before there were tokens is read as one without', () => {
    const text =
      '{"turn":3,"clockMs":5,"holdings":{"a":{"seq":1,"slots":2,"wants":2,"starts":0,"expiresAtMs":9}},"nextStartMs":0}';
    expect(parseRate(text)).toMatchObject({ turn: 3, tokens: [], holdings: { a: { tokens: NO_TOKENS } } });
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
  calls: Call[];
}

interface Call {
  endsAtMs: number;
  permit: Permit;
  /** Known when it ends. */
  usesTokens: number;
}

type Step =
  | { kind: 'pass'; ms: number }
  | { kind: 'begin'; replica: number; lastsShare: number; tokens: number; usesShare: number }
  | { kind: 'write'; replica: number; wants: number; starts: number; least: number; heard: boolean; watched: boolean }
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
      tokens: fc.integer({ min: 1, max: 20 }),
      usesShare: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      replica,
      wants: fc.nat(6),
      starts: fc.nat(5),
      least: fc.constantFrom(1, 20, 100),
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
      const dying = new SlotBook('a', callMs, limits);
      const first = renewHolding(empty, limits, 0, dying.request(1, onlyPlaces, 0));
      dying.confirm(first);
      const began = dying.begin(beginsAtMs, 0) !== undefined;
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
  const wanted = ({ starts, least }: { starts: number; least: number }) => ({
    starts,
    tokens: { wants: least, least },
  });
  fc.assert(
    fc.property(
      fc.array(steps, { minLength: 40, maxLength: 200 }),
      fc.record({
        concurrency: fc.integer({ min: 1, max: 5 }),
        requestsPerMinute: fc.option(fc.integer({ min: 1, max: 40 }), { nil: undefined }),
        tokensPerMinute: fc.option(fc.integer({ min: 10, max: 400 }), { nil: undefined }),
      }),
      (sequence, limits: RateLimits) => {
        let rate: Rate = empty;
        let realMs = 0;
        let born = 0;
        const beginnings: { atMs: number; tokens: number }[] = [];
        let orphans: Call[] = [];
        const fresh = (): Replica => ({
          book: new SlotBook(`replica-${born++}`, callMs, limits),
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
              for (const { endsAtMs, permit, usesTokens } of one.calls) {
                if (endsAtMs > realMs) continue;
                one.book.settle(permit, usesTokens);
                one.book.end();
              }
              one.calls = one.calls.filter(({ endsAtMs }) => endsAtMs > realMs);
            }
            continue;
          }
          const one = replicas[step.replica]!;
          const monotonicMs = realMs - one.originMs;
          if (step.kind === 'begin') {
            const permit = one.book.begin(monotonicMs, step.tokens);
            if (!permit) continue;
            const usesTokens = Math.floor(step.usesShare * permit.tokens);
            one.calls.push({ endsAtMs: realMs + step.lastsShare * callMs, permit, usesTokens });
            beginnings.push({ atMs: realMs, tokens: usesTokens });
            begun += 1;
          } else if (step.kind === 'watch') one.sightings.see(rate.turn, monotonicMs);
          else if (step.kind === 'yield') one.book.limit(step.slots);
          else if (step.kind === 'write') {
            const request = one.book.pending ?? one.book.request(step.wants, wanted(step), monotonicMs);
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
          const lastMinute = beginnings.filter(({ atMs }) => atMs > realMs - 60_000);
          expect(lastMinute.length).toBeLessThanOrEqual(limits.requestsPerMinute ?? Number.POSITIVE_INFINITY);
          const tokens = lastMinute.reduce((sum, one) => sum + one.tokens, 0);
          expect(tokens).toBeLessThanOrEqual(limits.tokensPerMinute ?? Number.POSITIVE_INFINITY);
        }
      },
    ),
    { numRuns: 2_000 },
  );
  expect(begun).toBeGreaterThan(500);
  expect(full).toBeGreaterThan(500);
  expect(takenOver).toBeGreaterThan(500);
});

test('three replicas that always want more use no more tokens in any minute than there are, and most of them', () => {
  let minutes = 0;
  let used = 0;
  const turn = fc.record({
    replica,
    passMs: fc.nat(1_500),
    tokens: fc.integer({ min: 1, max: 60 }),
    usesShare: fc.constantFrom(0.1, 0.25, 0.5, 1, 1),
    heard: fc.integer({ min: 0, max: 5 }).map((die) => die > 0),
    crash: fc.integer({ min: 0, max: 40 }).map((die) => die === 0),
  });
  fc.assert(
    fc.property(
      fc.array(turn, { minLength: 400, maxLength: 400, size: 'max' }),
      fc.integer({ min: 60, max: 2_000 }),
      (turns, tokensPerMinute) => {
        const limits = { concurrency: 1_000, tokensPerMinute };
        let rate: Rate = empty;
        let realMs = 0;
        let born = 0;
        const fresh = () => ({ book: new SlotBook(`replica-${born++}`, 0, limits), sightings: new Sightings() });
        const replicas = Array.from({ length: replicaCount }, fresh);
        const calls: { atMs: number; tokens: number }[] = [];
        for (const { replica: index, passMs, tokens, usesShare, heard, crash } of turns) {
          realMs += passMs;
          if (crash) replicas[index] = fresh();
          const { book, sightings } = replicas[index]!;
          const request =
            book.pending ?? book.request(9, { starts: 0, tokens: { wants: 3 * tokens, least: tokens } }, realMs);
          const grant = renewHolding(rate, limits, sightings.nowMs(rate, realMs), request);
          rate = grant.rate;
          for (const each of replicas) each.sightings.see(rate.turn, realMs);
          if (heard) book.confirm(grant);
          for (let permit = book.begin(realMs, tokens); permit; permit = book.begin(realMs, tokens)) {
            const uses = Math.ceil(usesShare * permit.tokens);
            calls.push({ atMs: realMs, tokens: uses });
            book.settle(permit, uses);
            book.end();
          }
          const lastMinute = calls.filter(({ atMs }) => atMs > realMs - 60_000);
          expect(lastMinute.reduce((sum, one) => sum + one.tokens, 0)).toBeLessThanOrEqual(tokensPerMinute);
        }
        minutes += (realMs / 60_000) * tokensPerMinute;
        used += calls.reduce((sum, one) => sum + one.tokens, 0);
      },
    ),
    { numRuns: 60 },
  );
  expect(used / minutes).toBeGreaterThan(0.3);
});
