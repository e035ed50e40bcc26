/**
 * The whole way from dev to verdict on simulated students, through the code that ships: the trainer's choice among candidates, the
 * threshold, the level of the look, the gates. Only the answers are drawn instead of given.
 */
import { gatesOf } from '@understudy/evaluator/gate';
import { proportion } from '@understudy/evaluator/measure';
import { levelOfLook } from '@understudy/student/statistics/level';
import { type Ranking, rankByConfidence } from '@understudy/student/statistics/ranking';
import { chooseThreshold, margin } from '@understudy/student/statistics/threshold';
import { chosenOf } from '@understudy/trainer/search/decide';
import { barOf } from '@understudy/trainer/search/measure';

export const CANDIDATES = 8;
const FIRST_DEV_PAIRS = 500;
const FIRST_TEST_PAIRS = 1_000;
/** A further run adds this share of what there is. Old pairs stay in their split, so the next look sees them again. */
const GROWTH = 0.5;
/** Share of answers that a candidate has in common with all others: any two then correlate by its square, 0.7. */
const IN_COMMON = Math.sqrt(0.7);
/** What is free and fast passes; only the bounds are in question here. */
const LIMITS = { sizeBytes: 1, latencyMs: 1, provable: true, slots: 1 };
const COSTS = {
  teacher: { medianLatencyMs: 0, p99LatencyMs: 0, usdPerThousand: 0 },
  student: { medianLatencyMs: 0, p99LatencyMs: 0, timedRequests: 1 },
  deliveredUsdPerThousand: 0,
};

export interface SimulatedTask {
  readonly goal: { readonly agreement: number; readonly coverage: number; readonly confidence: number };
  /** True agreement of every candidate at every threshold: nothing that is chosen changes it. */
  readonly agreement: number;
  /** Looks until the task's owner gives up. */
  readonly looks: number;
}

export interface Look {
  readonly passed: boolean;
  readonly coverage: number;
}

/** Runs until one passes or patience ends: each trains its candidates anew on more pairs and takes one look. */
export function looksOf(random: () => number, { goal, agreement, looks }: SimulatedTask): Look[] {
  const taken: Look[] = [];
  const devShared: boolean[] = [];
  const testShared: boolean[] = [];
  while (taken.length < looks && !taken.at(-1)?.passed) {
    const size = (1 + GROWTH) ** taken.length;
    const draw = () => random() < agreement;
    extend(devShared, Math.round(FIRST_DEV_PAIRS * size), draw);
    extend(testShared, Math.round(FIRST_TEST_PAIRS * size), draw);
    const level = levelOfLook(1 - goal.confidence, taken.length + 1);
    const own = (shared: boolean) => (random() < IN_COMMON ? shared : draw());
    const dev = bestOf(
      Array.from({ length: CANDIDATES }, () => ranked(random, devShared.map(own))),
      { goal, testPairs: testShared.length },
    );
    const { threshold } = chooseThreshold({ dev, goal, testPairs: testShared.length, level });
    // All candidates agree with the teacher equally often and are drawn alike, so any of them stands for the chosen one.
    const covered = testShared.map(own).filter(() => random() >= threshold);
    const test = {
      selectiveAgreement: proportion(covered.filter(Boolean).length, covered.length, level),
      coverage: proportion(covered.length, testShared.length, level),
    };
    const gates = gatesOf(test, COSTS, 1, { ...goal, latencyMs: 1, sizeBytes: 1 });
    taken.push({ passed: gates.every(({ passed }) => passed), coverage: covered.length / testShared.length });
  }
  return taken;
}

function extend(shared: boolean[], length: number, draw: () => boolean): void {
  while (shared.length < length) shared.push(draw());
}

/** Confidences say nothing about agreement: the hardest case, in which whatever threshold looks good looks so by chance. */
const ranked = (random: () => number, agrees: readonly boolean[]): Ranking =>
  rankByConfidence(Float64Array.from(agrees, random), agrees);

/** The candidate that the trainer would tell of, as its dev ranking. */
function bestOf(
  candidates: readonly Ranking[],
  { goal, testPairs }: { goal: SimulatedTask['goal']; testPairs: number },
): Ranking {
  const bar = barOf(goal, candidates[0]!.pairs, testPairs);
  const ladder = candidates.map((ranking) => {
    const covered = Math.ceil(bar.coverage * ranking.pairs);
    const agreeing = ranking.agreeing(covered);
    const above = margin(agreeing / covered, bar.agreement, covered, bar.testCovered);
    const dev = { pairs: ranking.pairs, covered, agreeing, margin: above };
    return { status: 'trained' as const, trained: { sizeBytes: 1, latencyUs: 1, dev } };
  });
  return candidates[chosenOf(ladder, LIMITS)!]!;
}
