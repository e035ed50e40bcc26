/** How a deployment may move. Decisions only, no I/O. */
import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { type Deployment, DeploymentSchema, PreviousSchema } from '@understudy/contract/deployer';

/** A student that was proven, as its report says. */
export interface Candidate {
  task: string;
  taskDigest: string;
  runId: string;
  studentDigest: string;
  policyDigest: string;
  reportDigest: string;
  /** Position among the task's reports. */
  sequence: bigint;
}

export type Promotion =
  | { kind: 'moved'; deployment: Deployment }
  /** This very report stands already: it was promoted before the message came again. */
  | { kind: 'stands'; deployment: Deployment }
  /** A report as new was promoted already, and perhaps rolled back: this one comes too late. */
  | { kind: 'late'; deployment: Deployment };

/** Promotes a candidate whose report is newer than any that was promoted before. */
export function promotionOf(current: Deployment | undefined, candidate: Candidate, now: Date): Promotion {
  if (current && candidate.sequence <= current.reportSequence) {
    const stands = candidate.sequence === current.reportSequence && candidate.reportDigest === current.reportDigest;
    return { kind: stands ? 'stands' : 'late', deployment: current };
  }
  const { sequence, ...serving } = candidate;
  const deployment = create(DeploymentSchema, {
    ...serving,
    generation: (current?.generation ?? 0n) + 1n,
    since: timestampFromDate(now),
    reportSequence: sequence,
    previous: current && servedBy(current),
  });
  return { kind: 'moved', deployment };
}

export type Rollback =
  | { kind: 'moved'; deployment: Deployment }
  /** The rollback that was asked for has been made: its answer got lost, and the caller tries again. */
  | { kind: 'stands'; deployment: Deployment }
  | { kind: 'refused'; reason: string };

/**
 * Back to what served before, as a newer generation; to no student where nothing did. The sequence of the newest
 * promoted report stays, so that a late replay of the one rolled back, or of an older one, promotes nothing. What was
 * rolled back is not kept as previous: a second rollback must not bring it back.
 * @param expectedGeneration the generation that the caller saw
 */
export function rollbackOf(current: Deployment, expectedGeneration: bigint, now: Date): Rollback {
  if (current.generation === expectedGeneration + 1n && isRolledBack(current)) {
    return { kind: 'stands', deployment: current };
  }
  if (current.generation !== expectedGeneration) {
    const reason = `expected ${current.task} to be at generation ${expectedGeneration}, it is at ${current.generation}; look at the deployment again and decide anew`;
    return { kind: 'refused', reason };
  }
  if (current.studentDigest === '') {
    return { kind: 'refused', reason: `${current.task} has no student: the teacher answers everything already` };
  }
  const { taskDigest, runId } = current;
  const deployment = create(DeploymentSchema, {
    ...(current.previous ? withoutType(current.previous) : { taskDigest, runId }),
    task: current.task,
    generation: current.generation + 1n,
    since: timestampFromDate(now),
    reportSequence: current.reportSequence,
  });
  return { kind: 'moved', deployment };
}

/** Every promotion but a task's first has a previous, even if that was no student; a rollback has none. */
const isRolledBack = ({ generation, previous }: Deployment): boolean => generation > 1n && previous === undefined;

const servedBy = ({ taskDigest, studentDigest, policyDigest, reportDigest, runId }: Deployment) =>
  create(PreviousSchema, { taskDigest, studentDigest, policyDigest, reportDigest, runId });

const withoutType = ({
  taskDigest,
  studentDigest,
  policyDigest,
  reportDigest,
  runId,
}: NonNullable<Deployment['previous']>) => ({
  taskDigest,
  studentDigest,
  policyDigest,
  reportDigest,
  runId,
});
