/** Whether a student is no worse than the one in service, where that one answers. No I/O. */
import { MAX_GROWTH } from '@understudy/student/statistics/estimate';
import { differenceLowerBound } from '@understudy/student/statistics/paired-difference';
import type { GateReport, IncumbentReport } from './report.ts';

/** What decides about an answer. */
export interface Given {
  readonly covered: boolean;
  readonly agrees: boolean;
}

/**
 * Both on the test pairs that the one in service answers itself: there nothing may get worse. Where the new one leaves a pair to the
 * teacher it agrees, as its clients will see it; how much it leaves to the teacher is the coverage's gate.
 * @param answers of the new student and of the one in service, to the same pairs in the same order
 */
export function compare(
  answers: readonly Given[],
  incumbent: { readonly digest: string; readonly answers: readonly Given[] },
  level: number,
): IncumbentReport {
  let [pairs, onlyNew, onlyIncumbent] = [0, 0, 0];
  for (const [i, before] of incumbent.answers.entries()) {
    if (!before.covered) continue;
    const { covered, agrees } = answers[i]!;
    const delivered = !covered || agrees;
    pairs += 1;
    if (delivered && !before.agrees) onlyNew += 1;
    if (!delivered && before.agrees) onlyIncumbent += 1;
  }
  const difference = pairs === 0 ? null : (onlyNew - onlyIncumbent) / pairs;
  const lowerBound = differenceLowerBound({ pairs, onlyFirst: onlyNew, onlySecond: onlyIncumbent }, level);
  return { digest: incumbent.digest, pairs, onlyNew, onlyIncumbent, difference, lowerBound };
}

/** Steps in which a larger test is tried: finer than what it is estimated from. */
const GROWTH_STEP = 1.1;

/**
 * How many times as many pairs would show that the new one may replace the one in service, if both go on as they did on these.
 * @param level of the next look
 * @returns above 1; undefined where not even MAX_GROWTH times as many would
 */
export function growthToReplace(
  { pairs, onlyNew, onlyIncumbent }: Pick<IncumbentReport, 'pairs' | 'onlyNew' | 'onlyIncumbent'>,
  margin: number,
  level: number,
): number | undefined {
  for (let growth = GROWTH_STEP; growth <= MAX_GROWTH; growth *= GROWTH_STEP) {
    const onlyFirst = Math.floor(onlyNew * growth);
    const onlySecond = Math.ceil(onlyIncumbent * growth);
    const counts = { pairs: Math.max(Math.round(pairs * growth), onlyFirst + onlySecond), onlyFirst, onlySecond };
    if (differenceLowerBound(counts, level) >= -margin) return growth;
  }
  return undefined;
}

/** A student in service that answers nothing cannot be fallen short of. */
export function incumbentGate({ pairs, difference, lowerBound }: IncumbentReport, margin: number): GateReport {
  const passed = pairs === 0 || lowerBound >= -margin;
  return { name: 'incumbent', measured: difference, bound: lowerBound, goal: -margin, passed };
}

export function incumbentFault({ pairs, onlyNew, onlyIncumbent, lowerBound }: IncumbentReport, margin: number): string {
  const points = (share: number): string => `${(100 * share).toFixed(2)} points`;
  return `not proven to be no worse than the student in service: of the ${pairs} test pairs that it answers, ${onlyIncumbent} get worse and ${onlyNew} better; the difference may be as low as ${points(lowerBound)}, allowed are ${points(-margin)}`;
}
