/** The detector on simulated traffic: how often it demotes a healthy student, and how soon one that got worse. */
import {
  alarmThreshold,
  type DetectorState,
  observeDisagreement,
  observeOthers,
  startDetector,
} from '@understudy/student/statistics/e-detector';

export const GOAL = 0.95;
export const HEALTHY = 0.97;
export const BROKEN = 0.9;
export const WATCHED_CHECKS = 100_000;
export const CHANGE_AT_CHECK = 20_000;
export const NOTICED_WITHIN_CHECKS = 600;
/** Longest run at exactly the goal, in checks: runs beyond it count as this long, so the mean is a lower estimate. */
const LONGEST_CHECKS = 20 * alarmThreshold(GOAL);

/** Agreement up to a number of answers. */
type Phase = { readonly untilAnswer: number; readonly agreement: number };

/**
 * Answers until the alarm, or undefined. Between two audited disagreements nothing happens, so these stretches are drawn at once.
 * @param auditShare probability of an audit, the same for every answer
 */
function answersToAlarm(random: () => number, auditShare: number, phases: readonly Phase[]): number | undefined {
  let state: DetectorState = startDetector(GOAL);
  for (const { untilAnswer, agreement } of phases) {
    const chance = auditShare * (1 - agreement);
    while (state.answers < untilAnswer) {
      const quiet = Math.floor(Math.log1p(-random()) / Math.log1p(-chance));
      const room = untilAnswer - state.answers;
      state = observeOthers(state, auditShare, Math.min(quiet, room));
      if (quiet < room) state = observeDisagreement(state, auditShare);
      if (state.alarmed) return state.answers;
    }
  }
  return undefined;
}

export type DetectorFigures = {
  readonly falseDemotions: number;
  /** Of the runs that were still deployed when the change came. */
  readonly noticed: number;
  readonly standing: number;
  /** Checks from the change to the alarm, rising. */
  readonly delays: readonly number[];
  /** Mean checks to the alarm of a student exactly at the goal. */
  readonly meanAtGoal: number;
};

export function simulateDetector(random: () => number, runs: number, auditShare: number): DetectorFigures {
  const answers = (checks: number): number => Math.round(checks / auditShare);
  const each = <T>(draw: () => T): T[] => Array.from({ length: runs }, draw);
  const healthy = each(() =>
    answersToAlarm(random, auditShare, [{ untilAnswer: answers(WATCHED_CHECKS), agreement: HEALTHY }]),
  );
  const change = answers(CHANGE_AT_CHECK);
  const changed = each(() =>
    answersToAlarm(random, auditShare, [
      { untilAnswer: change, agreement: HEALTHY },
      { untilAnswer: 2 * change, agreement: BROKEN },
    ]),
  ).filter((at) => at === undefined || at > change);
  const delays = changed.map((at) => ((at ?? Number.POSITIVE_INFINITY) - change) * auditShare).sort((a, b) => a - b);
  const atGoal = each(
    () =>
      answersToAlarm(random, auditShare, [{ untilAnswer: answers(LONGEST_CHECKS), agreement: GOAL }]) ??
      answers(LONGEST_CHECKS),
  );
  return {
    falseDemotions: healthy.filter((at) => at !== undefined).length,
    noticed: delays.filter((delay) => delay <= NOTICED_WITHIN_CHECKS).length,
    standing: changed.length,
    delays,
    meanAtGoal: (atGoal.reduce((sum, at) => sum + at, 0) * auditShare) / runs,
  };
}
