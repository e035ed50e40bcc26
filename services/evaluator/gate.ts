/** The decision: which gates a student passes, and in words what came of it. No I/O. */

import { successesNeeded } from '@understudy/student/statistics/clopper-pearson';
import { ASSUMPTIONS, MAX_GROWTH } from '@understudy/student/statistics/estimate';
import { MIN_DEV_PAIRS } from '@understudy/student/statistics/threshold';
import { floorsFault } from './floors.ts';
import { type Curve, helpOf } from './learning-curve.ts';
import { incumbentFault } from './non-inferiority.ts';
import type { CostsReport, FloorsReport, GateReport, Report, TestReport, VerdictReport } from './report.ts';

type Goal = Report['goal'];

/** The gates, each against the goal. Agreement and coverage count by their lower bounds. */
export function gatesOf(
  test: Pick<TestReport, 'selectiveAgreement' | 'coverage'>,
  costs: CostsReport,
  sizeBytes: number,
  goal: Pick<Goal, 'agreement' | 'coverage' | 'latencyMs' | 'sizeBytes'>,
): GateReport[] {
  const { selectiveAgreement, coverage } = test;
  const median = costs.student.medianLatencyMs;
  return [
    {
      name: 'agreement',
      measured: selectiveAgreement.value,
      bound: selectiveAgreement.lowerBound,
      goal: goal.agreement,
      passed: selectiveAgreement.pairs > 0 && selectiveAgreement.lowerBound >= goal.agreement,
    },
    {
      name: 'coverage',
      measured: coverage.value,
      bound: coverage.lowerBound,
      goal: goal.coverage,
      passed: coverage.lowerBound >= goal.coverage,
    },
    { name: 'latencyMs', measured: median, goal: goal.latencyMs, passed: median <= goal.latencyMs },
    { name: 'sizeBytes', measured: sizeBytes, goal: goal.sizeBytes, passed: sizeBytes <= goal.sizeBytes },
  ];
}

/** What a look has found. */
export type Found = Pick<Report, 'goal' | 'incumbent'> & {
  learningCurve: Curve | null;
  test: TestReport;
  floors: FloorsReport;
};

/** Estimates of how many further pairs would do; undefined where none would. */
export interface Further {
  /** For the goal. */
  goal: () => number | undefined;
  /** To be shown no worse than the student in service. */
  incumbent: () => number | undefined;
}

/** Passed where every gate is. What more pairs would do for the goal is told by the curve, where there is one, and estimated otherwise. */
export function verdictOf(gates: readonly GateReport[], findings: Found, further: Further): VerdictReport {
  const { test, learningCurve } = findings;
  const failed = gates.filter((gate) => !gate.passed);
  if (failed.length === 0) {
    const [agreement, coverage] = [test.selectiveAgreement, test.coverage];
    const reason =
      `proven at level ${percent(test.level)}: agreement of at least ${percent(agreement.lowerBound)} ` +
      `(measured ${percent(agreement.value)}) on at least ${percent(coverage.lowerBound)} of requests`;
    return { passed: true, reason, morePairs: 0 };
  }
  const faults = failed.map((gate) => fault(gate, findings)).join('; ');
  if (failed.some(({ name }) => name === 'latencyMs' || name === 'sizeBytes')) {
    return { passed: false, reason: `${faults}; more pairs do not change that`, morePairs: 0 };
  }
  if (failed.every(({ name }) => name === 'incumbent')) return incumbentVerdict(faults, further.incumbent());
  if (learningCurve) {
    const { help, ...verdict } = helpOf(learningCurve);
    return { passed: false, reason: `${faults}; ${help}`, ...verdict };
  }
  const morePairs = further.goal();
  const help =
    morePairs === undefined
      ? `not even ${MAX_GROWTH} times as many pairs are expected to help: this task cannot be distilled to this goal with this student; lower goal.agreement or goal.coverage`
      : `about ${morePairs} further pairs should do`;
  const notDistillable = morePairs === undefined;
  const verdict = { passed: false, reason: `${faults}; ${help}`, morePairs: morePairs ?? 0 };
  return { ...verdict, notDistillable, assumptions: ASSUMPTIONS };
}

/** The goal is reached, and what serves is better or not known to be worse: that says nothing against the task. */
function incumbentVerdict(faults: string, morePairs: number | undefined): VerdictReport {
  const help =
    morePairs === undefined
      ? `the student in service stays: not even ${MAX_GROWTH} times as many pairs are expected to show this one to be no worse`
      : `about ${morePairs} further pairs should do, if both go on as they did on these`;
  return { passed: false, reason: `${faults}; ${help}`, morePairs: morePairs ?? 0 };
}

/** What there is to judge by, before anything of the test is looked at. */
export interface Evidence {
  devPairs: number;
  /** Distinct answers that the teacher gave to dev pairs: labels, or whole ones. */
  devAnswers: readonly string[];
  testPairs: number;
  /** Pairs of all splits. */
  pairs: number;
  /** Shares that a further pair has of becoming one of dev or test. */
  shares: { dev: number; test: number };
  goal: Goal;
  /** Level of the look that would be made. */
  level: number;
}

/** The verdict where no look at the test could end in anything but failure: it is not made, and costs nothing. */
export function hopelessVerdict(evidence: Evidence): VerdictReport | undefined {
  const { devPairs, devAnswers, testPairs, goal, level } = evidence;
  for (const name of ['agreement', 'coverage'] as const) {
    if (goal[name] >= 1) {
      const reason = `goal.${name} is ${goal[name]}, and no test of finite size proves that; set it below 1`;
      return { passed: false, reason, morePairs: 0 };
    }
  }
  const neededTest = Math.max(leastTrials(goal.agreement, level), leastTrials(goal.coverage, level));
  if (devPairs < MIN_DEV_PAIRS || testPairs < neededTest) {
    const total = Math.max(MIN_DEV_PAIRS / evidence.shares.dev, neededTest / evidence.shares.test);
    const morePairs = Math.max(1, Math.ceil(total - evidence.pairs));
    const reason =
      `too few pairs to decide: ${devPairs} in dev and ${testPairs} in test, ` +
      `at least ${MIN_DEV_PAIRS} and ${neededTest} are needed; about ${morePairs} further pairs give a first answer`;
    return { passed: false, reason, morePairs };
  }
  if (devAnswers.length === 1) {
    const reason = `the teacher gave all ${devPairs} dev pairs the answer ${devAnswers[0]}, so there is nothing to decide; check the task's examples, instructions and sources`;
    return { passed: false, reason, morePairs: 0 };
  }
  return undefined;
}

/** The smallest test that can prove a goal, if all goes well. */
function leastTrials(goal: number, level: number): number {
  if (goal <= 0) return 1;
  let trials = Math.max(1, Math.floor(Math.log(level) / Math.log(goal)));
  while (successesNeeded(trials, goal, level) === undefined) trials += 1;
  return trials;
}

function fault(gate: GateReport, { test, floors, incumbent, goal }: Found): string {
  const { selectiveAgreement, coverage, look, level } = test;
  const at = `at level ${percent(level)} (look ${look})`;
  switch (gate.name) {
    case 'agreement':
      return selectiveAgreement.pairs === 0
        ? `agreement not proven: the student is sure of none of the ${test.pairs} test pairs`
        : `agreement not proven: ${percent(selectiveAgreement.value)} on the ${selectiveAgreement.pairs} test pairs that the student would answer, lower bound ${percent(selectiveAgreement.lowerBound)} ${at}, goal ${percent(gate.goal)}`;
    case 'coverage':
      return `coverage not proven: ${percent(coverage.value)} of ${test.pairs} test pairs, lower bound ${percent(coverage.lowerBound)} ${at}, goal ${percent(gate.goal)}`;
    case 'latencyMs':
      return `too slow: a single request takes ${gate.measured?.toFixed(2)} ms (median), goal ${gate.goal} ms`;
    case 'floors':
      return floorsFault(floors);
    case 'incumbent':
      return incumbentFault(incumbent!, goal.nonInferiorityMargin);
    case 'sizeBytes':
      return `too large: ${gate.measured} bytes, goal ${gate.goal} bytes`;
  }
}

const percent = (share: number | null): string => `${((share ?? 0) * 100).toFixed(2)}%`;
