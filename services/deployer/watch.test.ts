import { create } from '@bufbuild/protobuf';
import { TimestampSchema } from '@bufbuild/protobuf/wkt';
import { type AnswerAudited, AnswerAuditedSchema, AuditOutcome } from '@understudy/contract';
import { Stage } from '@understudy/contract/deployer';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { claimed } from './drift.ts';
import { judge } from './judge.ts';
import { CONFIDENCE_BINS, MAX_KNOWN_FACTS, SHIFT_WINDOW_ANSWERS, SHIFTED_INDEX } from './limits.ts';
import { confidencesCounted, type Places, parseWatch, stabilityIndex, subjectOf, watched } from './watch.ts';

const places: Places = {
  serving: { studentDigest: 'serving', generation: 3n, goal: 0.9 },
  challenger: { studentDigest: 'challenger', generation: 4n },
};
const audit = (request: number, outcome: AuditOutcome, about = places.serving!): AnswerAudited =>
  create(AnswerAuditedSchema, {
    requestId: `request-${request}`,
    studentDigest: about.studentDigest,
    servingGeneration: about.generation,
    propensity: 0.1,
    outcome,
  });
const { AGREED, DISAGREED, UNANSWERED, BUDGET_SPENT } = AuditOutcome;
const empty = parseWatch(undefined);

describe('checked answers', () => {
  test('count once, however often and in whatever order they are told, also by another process', () => {
    const facts = Array.from({ length: 30 }, (_, n) => audit(n, n % 3 === 0 ? DISAGREED : AGREED));
    const order = fc.shuffledSubarray([...facts, ...facts, ...facts], { minLength: 90, maxLength: 90 });
    fc.assert(
      fc.property(order, fc.integer({ min: 1, max: 90 }), (told, size) => {
        let watch = empty;
        for (let from = 0; from < told.length; from += size) {
          // What is read back is what was written.
          watch = parseWatch(JSON.stringify(watched(watch, places, told.slice(from, from + size))));
        }
        expect(subjectOf(watch, places.serving)).toMatchObject({ checks: 30, disagreements: 10 });
      }),
    );
  });

  test('are about the student that was asked where it stands, and about nobody else', () => {
    const facts = [
      audit(1, AGREED),
      audit(1, DISAGREED, { ...places.challenger!, goal: 0.9 }),
      audit(2, DISAGREED, { studentDigest: 'serving', generation: 2n, goal: 0.9 }),
      audit(3, DISAGREED, { studentDigest: 'forged', generation: 3n, goal: 0.9 }),
      audit(4, UNANSWERED),
      audit(5, BUDGET_SPENT),
    ];
    const watch = watched(empty, places, facts);
    expect(subjectOf(watch, places.serving)).toMatchObject({ checks: 1, disagreements: 0 });
    expect(subjectOf(watch, places.challenger)).toMatchObject({ checks: 1, disagreements: 1, detector: null });
    expect(watched(watch, { serving: undefined, challenger: undefined }, facts).subjects).toEqual([]);
  });

  test('weigh the same whatever the clocks of gateways say: in order, jumping ahead a century, or back before 1970', () => {
    const facts = Array.from({ length: 300 }, (_, n) => audit(n, n % 5 === 0 ? DISAGREED : AGREED));
    const steady = watched(empty, places, facts);
    const seconds = fc.bigInt({ min: -10_000_000_000n, max: 10_000_000_000n });
    fc.assert(
      fc.property(fc.array(seconds, { minLength: 300, maxLength: 300 }), (clocks) => {
        const told = facts.map((fact, n) => ({ ...fact, at: create(TimestampSchema, { seconds: clocks[n]! }) }));
        expect(watched(empty, places, told)).toEqual(steady);
      }),
      { numRuns: 20 },
    );
  });

  test('that fall below the goal raise an alarm, and a past however good does not delay it', () => {
    let watch = empty;
    const tell = (from: number, count: number, outcome: (n: number) => AuditOutcome) => {
      for (let n = from; n < from + count; n += 100) {
        const facts = Array.from({ length: 100 }, (_, i) => audit(n + i, outcome(n + i)));
        watch = watched(watch, places, facts);
      }
      return subjectOf(watch, places.serving)!;
    };
    expect(tell(0, 5_000, (n) => (n % 33 === 0 ? DISAGREED : AGREED)).detector!.alarmed).toBe(false);
    expect(tell(5_000, 200, (n) => (n % 3 === 0 ? AGREED : DISAGREED)).detector!.alarmed).toBe(true);
    expect(watch.known).toHaveLength(MAX_KNOWN_FACTS);
  });
});

describe('a stage', () => {
  const bar = { goal: 0.95, tolerance: 0.02 };
  test('is passed on evidence, sooner out of shadow than out of canary; nothing moves without any', () => {
    const needed = (stage: Stage, share: number) => {
      for (let checks = 0; checks <= 20_000; checks += 10) {
        const judgement = judge(stage, { checks, disagreements: Math.round(checks * (1 - share)) }, bar);
        if (judgement) return { judgement, checks };
      }
      return undefined;
    };
    const [shadow, canary] = [needed(Stage.SHADOW, 0.97)!, needed(Stage.CANARY, 0.97)!];
    expect([shadow.judgement, canary.judgement]).toEqual(['forward', 'forward']);
    expect(shadow.checks).toBeLessThan(canary.checks);
    expect(canary.checks).toBeLessThan(800);
    expect(needed(Stage.CANARY, 0.85)).toMatchObject({ judgement: 'back' });
    expect(needed(Stage.CANARY, 0.85)!.checks).toBeLessThan(200);
    expect(judge(Stage.WAITING, { checks: 10_000, disagreements: 0 }, bar)).toBeUndefined();
    expect(judge(Stage.CANARY, { checks: 0, disagreements: 0 }, bar)).toBeUndefined();
  });
});

describe('rounds of fixed prompts', () => {
  const hour = 3_600_000;
  test('come once an interval, the first an interval after the student; a clock that jumps changes no more than one round', () => {
    const begun = claimed(empty, 3n, hour, 1_000_000);
    expect(begun.round).toBeUndefined();
    expect(claimed(begun.watch, 3n, hour, 1_000_000 + hour - 1).round).toBeUndefined();
    const first = claimed(begun.watch, 3n, hour, 1_000_000 + hour);
    expect(first.round).toBe(1);
    expect(claimed(first.watch, 3n, hour, 1_000_000 + hour).round).toBeUndefined();
    const ahead = claimed(first.watch, 3n, hour, 9e12);
    expect(ahead.round).toBe(2);
    const back = claimed(ahead.watch, 3n, hour, 1_000_000 + hour + 1);
    expect(back.round).toBe(3);
    expect(claimed(back.watch, 3n, hour, 1_000_000 + hour + 2).round).toBeUndefined();
    expect(claimed(back.watch, 5n, hour, 1_000_000 + 9 * hour).round).toBeUndefined();
  });
});

describe('confidences', () => {
  const expected = Array.from({ length: CONFIDENCE_BINS }, (_, bin) => (bin === CONFIDENCE_BINS - 1 ? 0.86 : 0.01));
  const counts = (shares: readonly number[], total: number) => shares.map((share) => Math.round(share * total));
  test('of the same population stay near the test pairs', () => {
    expect(stabilityIndex(counts(expected, 1_000), expected)).toBeLessThan(0.01);
  });
  test('of another population are told from them, and a window told twice counts once', () => {
    const shifted = expected.map((_, bin) => (bin < 8 ? 0.1 : 0.2 / 7));
    const fact = { windowId: 'one', counts: counts(shifted, SHIFT_WINDOW_ANSWERS * 0.6), generation: 3n };
    const half = confidencesCounted(empty, fact, expected);
    expect(half.full).toBeUndefined();
    expect(confidencesCounted(half.watch, fact, expected)).toEqual({ watch: half.watch, full: undefined });
    const full = confidencesCounted(half.watch, { ...fact, windowId: 'two' }, expected);
    expect(full.full!.index).toBeGreaterThan(SHIFTED_INDEX);
    expect(full.watch.shift!.index).toBe(full.full!.index);
  });
});
