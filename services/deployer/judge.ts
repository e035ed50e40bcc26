/** What live traffic says about a student. Decisions only, no I/O. */
import { create } from '@bufbuild/protobuf';
import { type Evidence, EvidenceSchema, Stage } from '@understudy/contract/deployer';
import { lowerBoundAtAllTimes, upperBoundAtAllTimes } from '@understudy/student/statistics/confidence-sequence';

export interface Counts {
  checks: number;
  disagreements: number;
}

/** What a student is held to. */
export interface Bar {
  goal: number;
  /** How far below the goal a step forward need not be ruled out. */
  tolerance: number;
}

/**
 * Levels of the bounds that a step needs, over all looks together. Out of shadow no client is at risk yet, and what follows is
 * looked at again: one in five. Out of canary everybody is asked: one in twenty.
 */
export const FORWARD_LEVEL = { [Stage.SHADOW]: 0.2, [Stage.CANARY]: 0.05 } as const;
/** A student at its goal is sent away with at most this probability, in each stage. */
export const BACK_LEVEL = 0.05;

/** forward: agreement is surely no further below the goal than tolerated. back: it is surely below the goal. */
export function judge(
  stage: Stage,
  { checks, disagreements }: Counts,
  { goal, tolerance }: Bar,
): 'forward' | 'back' | undefined {
  if (stage !== Stage.SHADOW && stage !== Stage.CANARY) return undefined;
  const agreements = checks - disagreements;
  if (upperBoundAtAllTimes(agreements, checks, BACK_LEVEL) < goal) return 'back';
  const needed = Math.max(goal - tolerance, 0);
  return lowerBoundAtAllTimes(agreements, checks, FORWARD_LEVEL[stage]) >= needed ? 'forward' : undefined;
}

/** The level of the bounds that are shown: a stage's own, or a canary's once live. */
export const shownLevel = (stage: Stage | undefined): number =>
  stage === Stage.SHADOW ? FORWARD_LEVEL[Stage.SHADOW] : FORWARD_LEVEL[Stage.CANARY];

export function evidenceOf(
  { studentDigest, generation }: { studentDigest: string; generation: bigint },
  { checks, disagreements }: Counts,
  goal: number,
  level: number,
): Evidence {
  const agreements = checks - disagreements;
  return create(EvidenceSchema, {
    studentDigest,
    generation,
    checks,
    disagreements,
    agreement: checks === 0 ? 0 : agreements / checks,
    lowerBound: lowerBoundAtAllTimes(agreements, checks, level),
    upperBound: upperBoundAtAllTimes(agreements, checks, level),
    level,
    goal,
  });
}
