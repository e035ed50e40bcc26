/**
 * A watch over live agreement that is valid whenever one looks: a restarting e-detector (Shin, Ramdas and Rinaldo 2022,
 * "E-detectors: a nonparametric framework for sequential change detection", arXiv 2203.03532) on audited answers.
 *
 * Each served answer is audited with a probability p that is fixed before the draw is known. Z = A·d/p, where A says whether it
 * was audited and d whether the teacher disagreed, has the live disagreement as its mean, whatever p is and however it
 * changes. While that mean is at most g = 1 - goal, every factor 1 + b·(Z - g) with b in [0, 1/g), chosen before Z, has a mean
 * of at most 1: a bet that loses on average. The bet against a disagreement of q that grows fastest is
 *
 *   b = p·(q - g) / (g·(1 - p·g)),  so the factor is q/g after an audited disagreement and (1 - p·q)/(1 - p·g) after anything else.
 *
 * Restarts: at every answer a new bet of p units begins beside those that run, S <- (S + p)·factor (Shiryaev–Roberts), so a long
 * good past costs an alarm nothing. The evidence is the mean of S over a few q. Evidence less the sum of all p loses on
 * average too, hence the alarm's guarantee: a student exactly at its goal gives, on average, at least as many
 * audits before a false alarm as the evidence that raises one. In units of p that holds for any share of audits.
 */

/**
 * Disagreements bet on, by their odds as multiples of the odds at the goal, in equal shares: the small ones see a slow decline, the
 * large ones a break. Simulated against the one best bet on a known fall (a ratio of 1.7, from 0.97 to 0.90), the mixture takes a sixth longer.
 */
const ODDS_RATIOS = [1.25, 1.5, 2, 3] as const;

/**
 * Disagreements that a student exactly at its goal has, on average, at least before a false alarm: 10,000 audits at a goal of
 * 0.95. Counted in disagreements, because rarer ones say as much only after more audits. Simulated at 0.95 (`npm run bench
 * gate`): healthy at 0.97, alarm in under 3% of runs of 100,000 audits; after a fall to 0.90, alarm within 600 audits in 98%.
 */
export const DISAGREEMENTS_TO_FALSE_ALARM = 500;

/** All that the watch remembers: plain JSON. */
export interface DetectorState {
  readonly goal: number;
  /** S for each disagreement bet on. */
  readonly sums: readonly number[];
  /** Answers served, and the sum of A·d/p over them. */
  readonly answers: number;
  readonly weightedDisagreements: number;
  /** Once true, stays so: demote, and begin anew with the next deployment. */
  readonly alarmed: boolean;
}

/**
 * @param goal the agreement that was proven, between 0 and 1, both excluded
 * @throws RangeError at a goal that leaves nothing to watch
 */
export function startDetector(goal: number): DetectorState {
  if (!(goal > 0 && goal < 1)) throw new RangeError(`expected a goal between 0 and 1, got ${goal}`);
  return { goal, sums: ODDS_RATIOS.map(() => 0), answers: 0, weightedDisagreements: 0, alarmed: false };
}

/** The evidence that raises an alarm, in audits. */
export const alarmThreshold = (goal: number): number => DISAGREEMENTS_TO_FALSE_ALARM / (1 - goal);

/** The evidence against the goal so far, in audits; an alarm is raised where it reaches `alarmThreshold`. */
export function evidenceOf({ sums }: DetectorState): number {
  return sums.reduce((total, sum) => total + sum, 0) / sums.length;
}

/** Agreement since the start, each audit weighted by 1/p: without bias, but not within 0..1 while few are audited. Undefined without answers. */
export function weightedAgreement({ answers, weightedDisagreements }: DetectorState): number | undefined {
  return answers === 0 ? undefined : 1 - weightedDisagreements / answers;
}

/**
 * An answer that was audited, and with which the teacher disagreed.
 * @param auditProbability with which this very answer was to be audited, above 0, at most 1
 */
export function observeDisagreement(state: DetectorState, auditProbability: number): DetectorState {
  checkProbability(auditProbability);
  const goalShare = 1 - state.goal;
  const sums = state.sums.map((sum, i) => ((sum + auditProbability) * betOn(i, goalShare)) / goalShare);
  return next(state, sums, 1, 1 / auditProbability);
}

/**
 * Answers of which the audit found nothing wrong: not audited, or audited and agreed with. Several in a row with the same
 * probability are as many single ones.
 * @param auditProbability of each, above 0, at most 1: an answer that could not be audited is not observed
 * @param answers how many, a whole number
 */
export function observeOthers(state: DetectorState, auditProbability: number, answers = 1): DetectorState {
  checkProbability(auditProbability);
  if (!Number.isInteger(answers) || answers < 0) throw new RangeError(`expected a number of answers, got ${answers}`);
  const goalShare = 1 - state.goal;
  const sums = state.sums.map((sum, i) => {
    const factor = (1 - auditProbability * betOn(i, goalShare)) / (1 - auditProbability * goalShare);
    const shrunk = factor ** answers;
    return sum * shrunk + (auditProbability * factor * (1 - shrunk)) / (1 - factor);
  });
  return next(state, sums, answers, 0);
}

/** The disagreement whose odds are the i-th multiple of those at the goal; below 1 for every goal. */
function betOn(i: number, goalShare: number): number {
  const ratio = ODDS_RATIOS[i]!;
  return (ratio * goalShare) / (1 - goalShare + ratio * goalShare);
}

function next(before: DetectorState, sums: number[], answers: number, weighted: number): DetectorState {
  const state = {
    goal: before.goal,
    sums,
    answers: before.answers + answers,
    weightedDisagreements: before.weightedDisagreements + weighted,
    alarmed: before.alarmed,
  };
  return { ...state, alarmed: state.alarmed || evidenceOf(state) >= alarmThreshold(state.goal) };
}

function checkProbability(probability: number): void {
  if (!(probability > 0 && probability <= 1)) {
    throw new RangeError(`expected the probability of an audit, above 0 and at most 1, got ${probability}`);
  }
}
