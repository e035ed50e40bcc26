/** Runs a search: starts and stops candidates as `decide.ts` says, and remembers how each one ended. */
import { setTimeout as sleep } from 'node:timers/promises';
import { RetryableError, TerminalError } from '@understudy/service/errors';
import { CandidateError } from '../errors.ts';
import { MAX_TRIES, RETRY_AFTER_CRASH_MS } from '../limits.ts';
import type { CandidateReport, End, Outcome } from '../outcomes.ts';
import type { Trained } from '../training/protocol.ts';
import { chosenOf, frontOf, nextMove, type Rung } from './decide.ts';
import type { Plan, PlannedCandidate } from './plan.ts';

/** What a search needs of the world. */
export interface SearchParts {
  readonly plan: Plan;
  readonly clock: { readonly isOver: boolean; readonly over: Promise<void>; readonly spentMs: number };
  /** Ends the search; it then throws the signal's reason. */
  readonly signal: AbortSignal;
  /** How a candidate ended in an earlier try of the search. */
  readonly recall: (planned: PlannedCandidate) => Promise<End | undefined>;
  readonly remember: (planned: PlannedCandidate, end: End) => Promise<void>;
  /** Trains a candidate in a process of its own; throws as `trainInProcess` does. */
  readonly train: (planned: PlannedCandidate, signal: AbortSignal) => Promise<Trained>;
  readonly onCrash: (planned: PlannedCandidate, reason: string) => void;
}

/**
 * Walks the ladder and gives the chosen student with all that was considered. It ends within the plan's time, with the
 * best that was found by then.
 * @throws TerminalError when the order, or every candidate of it, can lead to no student, or none within the time
 * @throws RetryableError when candidates crashed and no other led to a student, or something else failed that will pass
 * @throws the signal's reason when it aborts
 */
export async function search(parts: SearchParts): Promise<Outcome> {
  const walk = new Walk(parts);
  try {
    await walk.recall();
    await walk.toTheEnd();
  } finally {
    await walk.abandon();
  }
  return outcomeOf(walk.rungs, parts);
}

class Walk {
  readonly rungs: Rung<Trained>[];
  readonly #parts: SearchParts;
  readonly #underWay = new Map<number, { controller: AbortController; ended: Promise<void> }>();

  constructor(parts: SearchParts) {
    this.#parts = parts;
    this.rungs = parts.plan.ladder.map(({ unfit }) => unfit ?? { status: 'waiting' });
  }

  async recall(): Promise<void> {
    for (const [rung, planned] of this.#parts.plan.ladder.entries()) {
      const end = await this.#parts.recall(planned);
      if (end) this.rungs[rung] = rungOf(end);
    }
  }

  async toTheEnd(): Promise<void> {
    const { plan, clock, signal } = this.#parts;
    const aborted = Promise.withResolvers<never>();
    const abort = (): void => aborted.reject(signal.reason);
    aborted.promise.catch(() => {});
    signal.addEventListener('abort', abort, { once: true });
    try {
      for (;;) {
        signal.throwIfAborted();
        const { start, stop, over } = nextMove(this.rungs, plan.limits, clock.isOver);
        if (over) return;
        for (const { rung, reason } of stop) await this.#stop(rung, reason);
        for (const rung of start) this.#start(rung);
        if (this.#underWay.size === 0) continue;
        const ended = [...this.#underWay.values()].map((one) => one.ended);
        await Promise.race([...ended, aborted.promise, ...(clock.isOver ? [] : [clock.over])]);
      }
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** Ends whatever is still under way, because the search failed. */
  async abandon(): Promise<void> {
    for (const { controller } of this.#underWay.values()) controller.abort(new Error('the search has ended'));
    await Promise.allSettled([...this.#underWay.values()].map(({ ended }) => ended));
  }

  #start(rung: number): void {
    const controller = new AbortController();
    this.rungs[rung] = { status: 'running' };
    const ended = this.#follow(rung, controller.signal);
    // Whoever waits for it next is told; until then a failure must not count as unhandled.
    ended.catch(() => {});
    this.#underWay.set(rung, { controller, ended });
  }

  async #stop(rung: number, reason: string): Promise<void> {
    const { controller, ended } = this.#underWay.get(rung)!;
    controller.abort(new Error(reason));
    await ended;
    // It may have ended by itself in the same moment.
    if (this.rungs[rung]!.status === 'running') this.rungs[rung] = { status: 'stopped', reason };
  }

  /** Rejects only for what is not the candidate's fault, and not when it was stopped. */
  async #follow(rung: number, signal: AbortSignal): Promise<void> {
    const planned = this.#parts.plan.ladder[rung]!;
    try {
      const end = await this.#endOf(planned, signal);
      if ('crashed' in end) {
        this.rungs[rung] = { status: 'failed', reason: end.crashed, transient: true };
        return;
      }
      await this.#parts.remember(planned, end);
      this.rungs[rung] = rungOf(end);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      this.#underWay.delete(rung);
    }
  }

  async #endOf(planned: PlannedCandidate, signal: AbortSignal): Promise<End | { crashed: string }> {
    for (let tries = 1; ; tries += 1) {
      try {
        return { trained: await this.#parts.train(planned, signal) };
      } catch (error) {
        if (!(error instanceof CandidateError)) throw error;
        if (!error.crashed) return { failed: error.message };
        this.#parts.onCrash(planned, error.message);
        if (tries === MAX_TRIES) return { crashed: error.message };
        await sleep(RETRY_AFTER_CRASH_MS, undefined, { signal });
      }
    }
  }
}

const rungOf = (end: End): Rung<Trained> =>
  'failed' in end
    ? { status: 'failed', reason: end.failed, transient: false }
    : { status: 'trained', trained: end.trained };

function outcomeOf(rungs: readonly Rung<Trained>[], { plan, clock }: SearchParts): Outcome {
  const front = new Set(frontOf(rungs));
  const untried = whyUntried(plan, clock.isOver);
  const candidates = rungs.map((rung, index) => reportOf(plan.ladder[index]!, rung, front.has(index), untried));
  const chosen = candidates[chosenOf(rungs, plan.limits) ?? -1];
  if (!chosen?.trained) throw nothingTrained(rungs, candidates, plan, clock.isOver);
  return { family: chosen.family, chosen: chosen.trained, candidates, searchMs: clock.spentMs, curve: [] };
}

function reportOf(
  { name, candidate }: PlannedCandidate,
  rung: Rung<Trained>,
  onFront: boolean,
  untried: string,
): CandidateReport {
  const about = { name, family: candidate.family, onFront };
  switch (rung.status) {
    case 'trained':
      return { ...about, status: 'trained', reason: '', trained: rung.trained };
    case 'waiting':
    case 'running':
      return { ...about, status: 'skipped', reason: untried };
    default:
      return { ...about, status: rung.status, reason: rung.reason };
  }
}

function whyUntried({ limits }: Plan, late: boolean): string {
  if (late) return 'the time for training was over';
  return limits.provable ? 'a cheaper student reached the goal' : 'dev and test are too small to prove any student';
}

function nothingTrained(
  rungs: readonly Rung[],
  candidates: readonly CandidateReport[],
  plan: Plan,
  late: boolean,
): Error {
  const reasons = candidates.map(({ name, reason }) => `${name}: ${reason}`).join('; ');
  if (rungs.some((rung) => rung.status === 'failed' && rung.transient)) {
    return new RetryableError(`no student was trained: ${reasons}`, { afterMs: RETRY_AFTER_CRASH_MS });
  }
  const advice = late ? ` within training.maxMinutes (${plan.limitMs / 60_000}); allow more, or a faster family` : '';
  return new TerminalError(`no student was trained${advice}: ${reasons}`);
}
