/**
 * How the chosen student depends on the number of pairs: its candidate trained on nested parts of train. Told with the student
 * where dev says that it is not good enough, so that the evaluator can say what more pairs would do, or that none would.
 */
import { TerminalError } from '@understudy/service/errors';
import { sha256Hex } from '@understudy/task/canonical';
import { CandidateError } from '../errors.ts';
import { MIN_CURVE_PAIRS } from '../limits.ts';
import type { CurvePoint, Outcome } from '../outcomes.ts';
import type { Trained } from '../training/protocol.ts';
import { isEnough } from './decide.ts';
import type { Plan, PlannedCandidate } from './plan.ts';
import type { SearchParts } from './search.ts';

/** Parts of train, beside all of it. They double, because learning curves are straight in the logarithm; together they cost less than the student did. */
export const PARTS = [8, 4, 2] as const;

export interface CurveParts {
  readonly plan: Plan;
  readonly outcome: Outcome;
  /** All of train. */
  readonly trainPairs: number;
  readonly clock: SearchParts['clock'];
  /** Ends it; it then throws the signal's reason. */
  readonly signal: AbortSignal;
  readonly train: (planned: PlannedCandidate, trainPairs: number, signal: AbortSignal) => Promise<Trained>;
  readonly onLost: (planned: PlannedCandidate, reason: string) => void;
}

/**
 * The points of the curve, rising; none where the student is good enough, or no time is left. A part on which
 * nothing could be trained has no point.
 * @throws the signal's reason when it aborts, and RetryableError when something failed that will pass
 */
export async function curveOf(parts: CurveParts): Promise<CurvePoint[]> {
  const { plan, outcome, trainPairs, clock, signal } = parts;
  const chosen = plan.ladder.find(({ key }) => key === keyOfChosen(parts));
  if (!chosen || isEnough(outcome.chosen, plan.limits)) return [];
  const late = new AbortController();
  void clock.over.then(() => late.abort(new Error('the time for training was over')));
  const points: CurvePoint[] = [];
  for (const part of PARTS) {
    const pairs = Math.floor(trainPairs / part);
    if (clock.isOver || late.signal.aborted) break;
    if (pairs < MIN_CURVE_PAIRS) continue;
    const planned = partOf(chosen, pairs);
    try {
      points.push(pointOf(pairs, await parts.train(planned, pairs, AbortSignal.any([signal, late.signal]))));
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof CandidateError || error instanceof TerminalError || late.signal.aborted)) throw error;
      parts.onLost(planned, error instanceof Error ? error.message : String(error));
    }
  }
  return points.length === 0 ? [] : [...points, pointOf(trainPairs, outcome.chosen)];
}

function keyOfChosen({ plan, outcome }: CurveParts): string | undefined {
  const index = outcome.candidates.findIndex(({ trained }) => trained?.studentDigest === outcome.chosen.studentDigest);
  return plan.ladder[index]?.key;
}

/** The same candidate with a name and a checkpoint of its own. */
const partOf = (chosen: PlannedCandidate, pairs: number): PlannedCandidate => ({
  ...chosen,
  name: `${chosen.name}, ${pairs} pairs`,
  key: sha256Hex(`part\n${chosen.key}\n${pairs}`),
});

const pointOf = (trainPairs: number, { dev, trainingMs }: Trained): CurvePoint => ({
  trainPairs,
  ...dev.ahead,
  trainingMs,
});
