import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chosenOf, fits, frontOf, isEnough, type Limits, type Measured, nextMove, type Rung } from './decide.ts';

const limits: Limits = { sizeBytes: 5_000_000, latencyMs: 20, provable: true, slots: 2 };

/** A student of 100 dev pairs at a margin. */
const student = (margin: number, change: Partial<Measured> = {}): Measured => ({
  sizeBytes: 1_000_000,
  latencyUs: 100,
  dev: { pairs: 100, covered: 90, agreeing: 80, margin },
  ...change,
});
const trained = (measured: Measured): Rung => ({ status: 'trained', trained: measured });
const failed: Rung = { status: 'failed', reason: 'the loss became NaN', transient: false };
const skipped: Rung = { status: 'skipped', reason: 'too large' };
const waiting: Rung = { status: 'waiting' };
const running: Rung = { status: 'running' };
const good = trained(student(2));
const poor = trained(student(-1));

/** How each candidate would end, and an order in which they do. */
const fate = fc.oneof(
  fc
    .record({ margin: fc.double({ min: -3, max: 3, noNaN: true }), large: fc.boolean(), slow: fc.boolean() })
    .map(
      ({ margin, large, slow }): Rung =>
        trained(student(margin, { sizeBytes: large ? 9_000_000 : 1_000_000, latencyUs: slow ? 90_000 : 100 })),
    ),
  fc.constant(failed),
);
const fates = fc.array(fate, { minLength: 1, maxLength: 6 });

/** Plays a search to its end: at each turn one of those that run ends, `pick` says which. */
function play(ends: readonly Rung[], slots: number, pick: () => number) {
  const rungs: Rung[] = ends.map(() => waiting);
  const started: number[] = [];
  const atOnce: number[] = [];
  for (;;) {
    const { start, stop, over } = nextMove(rungs, { ...limits, slots }, false);
    for (const { rung, reason } of stop) rungs[rung] = { status: 'stopped', reason };
    for (const rung of start) rungs[rung] = running;
    started.push(...start);
    const under = rungs.flatMap(({ status }, rung) => (status === 'running' ? [rung] : []));
    atOnce.push(under.length);
    if (over) return { rungs, started, atOnce, chosen: chosenOf(rungs, limits) };
    if (under.length === 0) continue;
    const ended = under[pick() % under.length]!;
    rungs[ended] = ends[ended]!;
  }
}

describe('a search', () => {
  it('chooses the same student whoever finishes first', () => {
    fc.assert(
      fc.property(fates, fc.integer({ min: 1, max: 4 }), fc.infiniteStream(fc.nat(100)), (ends, slots, picks) => {
        const oneByOne = play(ends, 1, () => 0);
        const other = play(ends, slots, () => picks.next().value);
        expect(other.chosen).toBe(oneByOne.chosen);
      }),
    );
  });

  it('chooses the first rung that is enough; where none is, the best, and what fits before what does not', () => {
    fc.assert(
      fc.property(fates, (ends) => {
        const { chosen, rungs } = play(ends, 3, () => 1);
        const all = ends.flatMap((rung) => (rung.status === 'trained' ? [rung.trained] : []));
        const first = ends.findIndex((rung) => rung.status === 'trained' && isEnough(rung.trained, limits));
        if (first >= 0 || all.length === 0) {
          expect(chosen).toBe(first < 0 ? undefined : first);
          return;
        }
        const rung = rungs[chosen!]!;
        if (rung.status !== 'trained') throw new Error('the chosen one is not trained');
        const rivals = all.some((one) => fits(one, limits)) ? all.filter((one) => fits(one, limits)) : all;
        expect(rivals).toContain(rung.trained);
        expect(rung.trained.dev.margin).toBe(Math.max(...rivals.map(({ dev }) => dev.margin)));
      }),
    );
  });

  it('starts each candidate once, from the cheapest up, the first alone and never more than the slots', () => {
    fc.assert(
      fc.property(fates, fc.integer({ min: 1, max: 4 }), fc.infiniteStream(fc.nat(100)), (ends, slots, picks) => {
        const { started, atOnce, rungs } = play(ends, slots, () => picks.next().value);
        expect(started).toEqual(started.map((_, index) => index));
        expect(atOnce[0]).toBe(1);
        expect(Math.max(...atOnce)).toBeLessThanOrEqual(slots);
        expect(rungs.filter(({ status }) => status === 'running')).toEqual([]);
      }),
    );
  });

  it('is over after the first rung where that is enough, and spends nothing on the others meanwhile', () => {
    expect(nextMove([waiting, waiting, waiting], limits, false)).toEqual({ start: [0], stop: [], over: false });
    expect(nextMove([running, waiting, waiting], limits, false)).toEqual({ start: [], stop: [], over: false });
    expect(nextMove([good, waiting, waiting], limits, false)).toEqual({ start: [], stop: [], over: true });
    expect(nextMove([poor, waiting, waiting], limits, false)).toEqual({ start: [1, 2], stop: [], over: false });
    expect(nextMove([skipped, waiting, waiting], limits, false).start).toEqual([1]);
  });

  it('stops what is dearer than a student that is enough, and waits for what is cheaper', () => {
    const { stop, start, over } = nextMove([poor, running, good, running, waiting], { ...limits, slots: 3 }, false);
    expect({ stop: stop.map(({ rung }) => rung), start, over }).toEqual({ stop: [3], start: [], over: false });
    expect(chosenOf([poor, poor, good], limits)).toBe(2);
    expect(chosenOf([poor, good, good], limits)).toBe(1);
  });

  it('goes no further than the first student where no student could be proven', () => {
    const hopeless = { ...limits, provable: false };
    expect(nextMove([poor, waiting], hopeless, false).over).toBe(true);
    expect(nextMove([failed, waiting], hopeless, false).start).toEqual([1]);
  });

  it('ends when the time is over, with the best there is', () => {
    const late = nextMove([poor, running, waiting], limits, true);
    expect(late).toMatchObject({ start: [], stop: [{ rung: 1 }], over: false });
    expect(nextMove([poor, { status: 'stopped', reason: '' }, waiting], limits, true).over).toBe(true);
    expect(chosenOf([poor, { status: 'stopped', reason: '' }, waiting], limits)).toBe(0);
    expect(chosenOf([{ status: 'stopped', reason: '' }], limits)).toBeUndefined();
  });

  it('asks nothing more of a student that agrees on all that it would answer', () => {
    const dev = { pairs: 20, covered: 18, agreeing: 18, margin: 0.3 };
    expect(isEnough(student(0, { dev }), limits)).toBe(true);
    expect(isEnough(student(0, { dev: { ...dev, agreeing: 17 } }), limits)).toBe(false);
    expect(isEnough(student(0, { dev: { ...dev, covered: 0, agreeing: 0 } }), limits)).toBe(false);
    expect(isEnough(student(3, { sizeBytes: 5_000_001 }), limits)).toBe(false);
    expect(isEnough(student(3, { latencyUs: 20_001 }), limits)).toBe(false);
  });
});

describe('the Pareto front', () => {
  const measured = fc.record({
    margin: fc.integer({ min: -2, max: 2 }),
    sizeBytes: fc.integer({ min: 1, max: 3 }),
    latencyUs: fc.integer({ min: 1, max: 3 }),
  });
  const beats = (a: Measured, b: Measured): boolean =>
    a.dev.margin >= b.dev.margin &&
    a.sizeBytes <= b.sizeBytes &&
    a.latencyUs <= b.latencyUs &&
    (a.dev.margin > b.dev.margin || a.sizeBytes < b.sizeBytes || a.latencyUs < b.latencyUs);

  it('holds exactly the students that no other beats', () => {
    fc.assert(
      fc.property(fc.array(measured, { maxLength: 8 }), (given) => {
        const all = given.map(({ margin, ...rest }) => student(margin, rest));
        const front = frontOf([failed, ...all.map(trained)]).map((rung) => all[rung - 1]!);
        expect(front).toEqual(all.filter((one) => !all.some((other) => beats(other, one))));
        expect(front.length > 0).toBe(all.length > 0);
      }),
    );
  });
});
