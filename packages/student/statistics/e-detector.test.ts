import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  alarmThreshold,
  type DetectorState,
  evidenceOf,
  observeDisagreement,
  observeOthers,
  startDetector,
  weightedAgreement,
} from './e-detector.ts';
import { randomSource } from './random-source.ts';

const goals = fc.double({ min: 0.05, max: 0.999, noNaN: true });
const shares = fc.double({ min: 0.001, max: 1, noNaN: true });

/** Serves answers with audits drawn at random; the share of audits swings, as that of a budget does. */
function serve(state: DetectorState, random: () => number, agreement: number, answers: number): DetectorState {
  let watched = state;
  for (let i = 0; i < answers && !watched.alarmed; i += 1) {
    const share = i % 100 < 50 ? 0.2 : 0.8;
    const disagreed = random() < share && random() >= agreement;
    watched = disagreed ? observeDisagreement(watched, share) : observeOthers(watched, share);
  }
  return watched;
}

describe('the detector', () => {
  test('bets that gain nothing at the goal: the evidence grows by one audit an audit, on average', () => {
    fc.assert(
      fc.property(goals, shares, fc.nat(200), (goal, share, before) => {
        const state = observeOthers(startDetector(goal), share, before);
        const chance = share * (1 - goal);
        const [bad, good] = [observeDisagreement(state, share), observeOthers(state, share)];
        const expected = chance * evidenceOf(bad) + (1 - chance) * evidenceOf(good);
        expect(expected).toBeCloseTo(evidenceOf(state) + share, 6);
        expect(good.sums.every((sum) => sum >= 0)).toBe(true);
      }),
    );
  });

  test('loses at any agreement above the goal', () => {
    fc.assert(
      fc.property(goals, shares, fc.double({ min: 0, max: 0.99, noNaN: true }), (goal, share, part) => {
        const state = observeOthers(startDetector(goal), share, 10);
        const chance = share * (1 - goal) * part;
        const expected =
          chance * evidenceOf(observeDisagreement(state, share)) +
          (1 - chance) * evidenceOf(observeOthers(state, share));
        expect(expected).toBeLessThan(evidenceOf(state) + share);
      }),
    );
  });

  test('takes many quiet answers for as many single ones', () => {
    fc.assert(
      fc.property(goals, shares, fc.integer({ min: 0, max: 60 }), (goal, share, answers) => {
        const begun = observeDisagreement(startDetector(goal), share);
        let single = begun;
        for (let i = 0; i < answers; i += 1) single = observeOthers(single, share);
        const together = observeOthers(begun, share, answers);
        expect(together.answers).toBe(single.answers);
        for (const [i, sum] of together.sums.entries()) {
          expect(Math.abs(sum - single.sums[i]!) / single.sums[i]!).toBeLessThan(1e-9);
        }
      }),
    );
  });

  test('raises no alarm however long nothing is wrong, and none before a disagreement', () => {
    for (const goal of [0.05, 0.5, 0.95, 0.999]) {
      expect(observeOthers(startDetector(goal), 1, 10_000_000).alarmed).toBe(false);
    }
  });

  test('notices a student that fell, also after a long good past, and keeps its alarm', () => {
    const seed = 5;
    const random = randomSource(seed);
    const healthy = serve(startDetector(0.95), random, 0.98, 40_000);
    expect(healthy.alarmed, `seed ${seed}`).toBe(false);
    const fallen = serve(healthy, random, 0.85, 2_000);
    expect(fallen.alarmed, `seed ${seed}`).toBe(true);
    expect(fallen.answers - healthy.answers).toBeLessThan(600);
    expect(observeOthers(fallen, 1, 100_000).alarmed).toBe(true);
  });

  test('notices a student that breaks altogether at once', () => {
    let state = observeOthers(startDetector(0.95), 1, 50_000);
    let disagreements = 0;
    for (; !state.alarmed; disagreements += 1) state = observeDisagreement(state, 1);
    expect(disagreements).toBeLessThan(10);
  });

  test('weighs audits by their probability', () => {
    const seed = 9;
    const random = randomSource(seed);
    const state = serve(startDetector(0.5), random, 0.9, 100_000);
    // Spread of A·d/p: about sqrt(0.1 · 3.1 / 100,000) = 0.0018.
    expect(Math.abs(weightedAgreement(state)! - 0.9), `seed ${seed}`).toBeLessThan(0.008);
    expect(weightedAgreement(startDetector(0.9))).toBeUndefined();
  });

  test('goes on from its JSON', () => {
    const state = observeDisagreement(observeOthers(startDetector(0.95), 0.3, 17), 0.3);
    expect(JSON.parse(JSON.stringify(state))).toEqual(state);
    expect(evidenceOf(state)).toBeLessThan(alarmThreshold(0.95));
  });

  test('refuses what makes no sense', () => {
    expect(() => startDetector(1)).toThrow(RangeError);
    expect(() => startDetector(Number.NaN)).toThrow(RangeError);
    const state = startDetector(0.9);
    for (const share of [0, -1, 1.1, Number.NaN]) expect(() => observeOthers(state, share)).toThrow(RangeError);
    expect(() => observeDisagreement(state, 0)).toThrow(RangeError);
    expect(() => observeOthers(state, 1, 1.5)).toThrow(RangeError);
  });
});
