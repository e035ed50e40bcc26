/**
 * Which candidates to start, which to stop, and which to choose: pure, and independent of who finishes first. The
 * chosen one is the first of the ladder that reaches the goal once all before it have ended without; what is above it
 * can only waste the machine. `DESIGN.md` says why the first rung goes alone.
 */
import type { DevMeasure } from './measure.ts';

/**
 * Standard errors by which dev has to be above the bar for a search to be content. In a simulation over students of
 * every quality, 88% of those so chosen pass their test (0 standard errors: 82%; 1.645: 88%, but then a student that
 * passes in 95 of 100 cases is sent on to a dearer rung in 42 of 100 instead of 22).
 */
export const ENOUGH_MARGIN = 1;

/** A student that was made, with what decides about it. */
export interface Measured {
  readonly sizeBytes: number;
  /** Median of single answers, one thread. */
  readonly latencyUs: number;
  readonly dev: Omit<DevMeasure, 'ahead'>;
}

/** A rung of the ladder and what has become of it. */
export type Rung<M extends Measured = Measured> =
  | { readonly status: 'waiting' }
  | { readonly status: 'running' }
  | { readonly status: 'trained'; readonly trained: M }
  /** `transient`: it died, and may do better another time. */
  | { readonly status: 'failed'; readonly reason: string; readonly transient: boolean }
  | { readonly status: 'skipped' | 'stopped'; readonly reason: string };

export interface Limits {
  readonly sizeBytes: number;
  readonly latencyMs: number;
  /** False where no student could be proven on the dev and test there are: then the cheapest one will do. */
  readonly provable: boolean;
  /** Candidates above the first that train at once. */
  readonly slots: number;
}

/** What to do now, by indices into the ladder. */
export interface Move {
  readonly start: readonly number[];
  readonly stop: readonly { readonly rung: number; readonly reason: string }[];
  /** Nothing runs and nothing is left to start. */
  readonly over: boolean;
}

/** Within the task's size and latency. */
export const fits = ({ sizeBytes, latencyUs }: Measured, limits: Limits): boolean =>
  sizeBytes <= limits.sizeBytes && latencyUs <= limits.latencyMs * 1_000;

/**
 * Whether there is no reason to look further: the student fits and dev clears the bar by `ENOUGH_MARGIN`, or every pair
 * that it would answer agrees, which no other student can beat.
 */
export function isEnough(trained: Measured, limits: Limits): boolean {
  if (!fits(trained, limits)) return false;
  const { covered, agreeing, margin } = trained.dev;
  return margin >= ENOUGH_MARGIN || (covered > 0 && agreeing === covered);
}

export function nextMove(ladder: readonly Rung[], limits: Limits, outOfTime: boolean): Move {
  const running = indicesOf(ladder, 'running');
  const waiting = indicesOf(ladder, 'waiting');
  if (outOfTime) {
    const reason = 'the time for training was over';
    return { start: [], stop: running.map((rung) => ({ rung, reason })), over: running.length === 0 };
  }
  const end = endOf(ladder, limits);
  const stop = running
    .filter((rung) => rung > end)
    .map((rung) => ({ rung, reason: 'a cheaper student reached the goal' }));
  const kept = running.length - stop.length;
  const wanted = waiting.filter((rung) => rung < end);
  const start = wanted.slice(0, Math.max(0, slotsNow(ladder, wanted, limits) - kept));
  return { start, stop, over: kept === 0 && stop.length === 0 && start.length === 0 };
}

/** The cheapest student that is enough; where none is, the one with the best margin, those that fit before the others. */
export function chosenOf(ladder: readonly Rung[], limits: Limits): number | undefined {
  const trained = trainedOf(ladder);
  const enough = trained.find(({ measured }) => isEnough(measured, limits));
  if (enough) return enough.rung;
  const rank = ({ measured }: { measured: Measured }): number => (fits(measured, limits) ? 1 : 0);
  const better = (a: (typeof trained)[number], b: (typeof trained)[number]): boolean =>
    rank(a) === rank(b) ? a.measured.dev.margin > b.measured.dev.margin : rank(a) > rank(b);
  return trained.reduce<(typeof trained)[number] | undefined>(
    (best, one) => (best === undefined || better(one, best) ? one : best),
    undefined,
  )?.rung;
}

/** Students that no other one matches in agreement, size and latency while it is better in one of them. */
export function frontOf(ladder: readonly Rung[]): number[] {
  const trained = trainedOf(ladder);
  return trained
    .filter((one) => !trained.some((other) => dominates(other.measured, one.measured)))
    .map(({ rung }) => rung);
}

function dominates(a: Measured, b: Measured): boolean {
  const gains = [a.dev.margin - b.dev.margin, b.sizeBytes - a.sizeBytes, b.latencyUs - a.latencyUs];
  return gains.every((gain) => gain >= 0) && gains.some((gain) => gain > 0);
}

/** The first rung from which on nothing is wanted: the one above the cheapest student that is enough. */
function endOf(ladder: readonly Rung[], limits: Limits): number {
  const last = trainedOf(ladder).find(({ measured }) => !limits.provable || isEnough(measured, limits));
  return last?.rung ?? ladder.length;
}

/** The first rung trains alone, on all the threads; those above share them. */
function slotsNow(ladder: readonly Rung[], wanted: readonly number[], limits: Limits): number {
  const first = ladder.findIndex(({ status }) => status !== 'skipped');
  const alone = wanted[0] === first || ladder[first]?.status === 'running';
  return alone ? 1 : limits.slots;
}

const indicesOf = (ladder: readonly Rung[], status: Rung['status']): number[] =>
  ladder.flatMap((rung, index) => (rung.status === status ? [index] : []));

const trainedOf = (ladder: readonly Rung[]): { rung: number; measured: Measured }[] =>
  ladder.flatMap((one, rung) => (one.status === 'trained' ? [{ rung, measured: one.trained }] : []));
