/**
 * `npm run bench gate [-- --tasks N] [--runs N] [--seed N]`: what the gate and the detector promise, by simulation, on the code that ships. No
 * model is trained. Tasks whose students are truly 0.1 point below the goal, eight candidates each, up to five looks: how many are
 * promoted. Students at 0.97 with a goal of 0.95: how many pass at their first look. The detector at a goal of 0.95: how often a
 * healthy student is demoted, and how soon one is that fell.
 */
import { parseArgs } from 'node:util';
import { lowerBound, upperBound } from '@understudy/student/statistics/clopper-pearson';
import { randomSource } from '@understudy/student/statistics/random-source';
import {
  BROKEN,
  CHANGE_AT_CHECK,
  GOAL,
  HEALTHY,
  NOTICED_WITHIN_CHECKS,
  simulateDetector,
  WATCHED_CHECKS,
} from './gate/detector.ts';
import { CANDIDATES, looksOf } from './gate/students.ts';
import { median, report } from './report.ts';

const goal = { agreement: 0.95, coverage: 0.8, confidence: 0.95 };
const BELOW_GOAL = 0.001;
const GOOD_STUDENT = 0.97;
const LOOKS = 5;
/** Each bound of an interval of 95%. */
const TAIL = 0.025;
/** Shares of the answers that are audited. */
const AUDIT_SHARES = { all: 1, twentieth: 0.05 };

const percent = (share: number): string => `${(100 * share).toFixed(2)}%`;

export async function run(): Promise<void> {
  const { values } = parseArgs({
    args: process.argv.slice(3),
    options: {
      tasks: { type: 'string', default: '2000' },
      runs: { type: 'string', default: '1000' },
      seed: { type: 'string', default: '1' },
    },
  });
  const [tasks, runs, seed] = [Number(values.tasks), Number(values.runs), Number(values.seed)];
  const random = randomSource(seed);
  const promoted = (agreement: number, looks: number): number =>
    Array.from({ length: tasks }, () => looksOf(random, { goal, agreement, looks }).at(-1)!.passed).filter(Boolean)
      .length;
  const wrong = promoted(goal.agreement - BELOW_GOAL, LOOKS);
  const right = promoted(GOOD_STUDENT, 1);
  const every = simulateDetector(random, runs, AUDIT_SHARES.all);
  const some = simulateDetector(random, runs, AUDIT_SHARES.twentieth);
  const figures = {
    false_promotion_rate: wrong / tasks,
    false_promotion_upper: upperBound(wrong, tasks, TAIL),
    power_first_look: right / tasks,
    false_demotion_rate: every.falseDemotions / runs,
    false_demotion_upper: upperBound(every.falseDemotions, runs, TAIL),
    detected_within_600: every.noticed / every.standing,
    median_delay_checks: median(every.delays),
    mean_checks_at_goal: every.meanAtGoal,
    false_demotion_rate_audit_5: some.falseDemotions / runs,
    detected_within_600_audit_5: some.noticed / some.standing,
    mean_checks_at_goal_audit_5: some.meanAtGoal,
  };
  const interval = (hits: number, of: number): string =>
    `${percent(hits / of)} (95% interval ${percent(lowerBound(hits, of, TAIL))} to ${percent(upperBound(hits, of, TAIL))})`;
  const detector = (name: string, found: typeof every): [string, string][] => [
    [`${name}: demoted in ${WATCHED_CHECKS} checks at ${HEALTHY}`, interval(found.falseDemotions, runs)],
    [
      `${name}: noticed within ${NOTICED_WITHIN_CHECKS} checks of a fall to ${BROKEN}`,
      `${interval(found.noticed, found.standing)}, after ${median(found.delays).toFixed(0)} checks (median)`,
    ],
    [`${name}: demoted at exactly ${GOAL}`, `after ${found.meanAtGoal.toFixed(0)} checks (mean)`],
  ];
  report(
    'gate',
    [
      ['simulated tasks, candidates, looks', `${tasks}, ${CANDIDATES}, up to ${LOOKS}; seed ${seed}`],
      [`promoted at ${percent(goal.agreement - BELOW_GOAL)}, goal ${percent(goal.agreement)}`, interval(wrong, tasks)],
      [`promoted at ${percent(GOOD_STUDENT)} at the first look`, interval(right, tasks)],
      ['runs of the detector', `${runs}; the fall comes at check ${CHANGE_AT_CHECK}`],
      ...detector('all audited', every),
      ...detector('1 in 20 audited', some),
    ],
    figures,
  );
}
