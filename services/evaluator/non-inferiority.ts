/** Whether a student is no worse than the one in service, where that one answers. No I/O. */
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

/** A student in service that answers nothing cannot be fallen short of. */
export function incumbentGate({ pairs, difference, lowerBound }: IncumbentReport, margin: number): GateReport {
  const passed = pairs === 0 || lowerBound >= -margin;
  return { name: 'incumbent', measured: difference, bound: lowerBound, goal: -margin, passed };
}

export function incumbentFault({ pairs, onlyNew, onlyIncumbent, lowerBound }: IncumbentReport, margin: number): string {
  const points = (share: number): string => `${(100 * share).toFixed(2)} points`;
  return `not proven to be no worse than the student in service: of the ${pairs} test pairs that it answers, ${onlyIncumbent} get worse and ${onlyNew} better; the difference may be as low as ${points(lowerBound)}, allowed are ${points(-margin)}`;
}
