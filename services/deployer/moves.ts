/** How a deployment may move. Decisions only, no I/O. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import {
  type Challenger,
  ChallengerSchema,
  type Deployment,
  DeploymentSchema,
  type EvidenceSchema,
  type MoveSchema,
  PreviousSchema,
  Stage,
} from '@understudy/contract/deployer';
import { besideOf, type Plan } from './plan.ts';

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

/** Who decides, and why. */
export interface By {
  author: string;
  reason: string;
  /** Of live traffic, where it was decided on that. */
  evidence?: MessageInitShape<typeof EvidenceSchema> | undefined;
}

/** The author of what follows from the task's policy. */
export const POLICY = 'policy';

/** What became of a decision. */
export type Moved =
  | { kind: 'moved'; deployment: Deployment }
  /** It was made before; whoever asks again did not hear of it. */
  | { kind: 'stands'; deployment: Deployment }
  /** What it was about is not there any more. */
  | { kind: 'late'; deployment: Deployment }
  | { kind: 'refused'; reason: string };
export type Promotion =
  | Exclude<Moved, { kind: 'refused' }>
  /** Something else serves than the plan was made for. */
  | { kind: 'replan' };

/**
 * Sets a candidate on its way, if its report is newer than any that was accepted before: to live, or to the first stage of its plan
 * beside what serves. A challenger that is there makes room.
 */
export function promotionOf(current: Deployment | undefined, candidate: Candidate, plan: Plan, now: Date): Promotion {
  if (current && candidate.sequence <= current.reportSequence) {
    const known = [current.reportDigest, current.challenger?.reportDigest];
    const stands = candidate.sequence === current.reportSequence && known.includes(candidate.reportDigest);
    return { kind: stands ? 'stands' : 'late', deployment: current };
  }
  if (plan.beside !== besideOf(current)) return { kind: 'replan' };
  const { sequence, task: _, ...student } = candidate;
  const [first, ...ahead] = plan.ahead;
  const before = current ?? nobody(candidate);
  const at = { ...before, reportSequence: sequence };
  if (first === undefined) {
    return moved(
      at,
      live(before, student, plan, current !== undefined),
      { ...by('promoted', plan.why), ...about(candidate) },
      now,
    );
  }
  const challenger = { ...student, ...stageOf(first, plan), ahead };
  return moved(at, { challenger }, { ...by('staged', plan.why), ...about(candidate) }, now);
}

/** The challenger's next step: the stage that is ahead of it, or to live. */
export function stepOf(current: Deployment, expected: Expected, plan: Plan, who: By, now: Date): Moved {
  const { challenger } = current;
  if (!challenger || challenger.generation !== expected.challenger) return { kind: 'late', deployment: current };
  const [next, ...ahead] = challenger.ahead;
  if (next !== undefined) {
    const entered = { ...withoutType(challenger), ...stageOf(next, plan), ahead };
    return moved(current, { challenger: entered }, { action: 'stepped', ...who, ...about(challenger) }, now);
  }
  const { taskDigest, studentDigest, policyDigest, reportDigest, runId } = challenger;
  const student = { taskDigest, studentDigest, policyDigest, reportDigest, runId };
  return moved(current, live(current, student, plan, true), { action: 'live', ...who, ...about(challenger) }, now);
}

/** Generation of what a decision is about: where something else stands by now, it is late. */
export interface Expected {
  challenger: bigint;
}

/** Sends the challenger away; what serves goes on. */
export function dropOf(
  current: Deployment,
  expected: Expected,
  action: 'dropped' | 'rejected',
  who: By,
  now: Date,
): Moved {
  if (current.challenger?.generation !== expected.challenger) return { kind: 'late', deployment: current };
  return moved(current, { challenger: undefined }, { action, ...who, ...about(current.challenger) }, now);
}

/**
 * From a student that no longer agrees, or cannot be known to, back to the teacher. The student before it does not come back: it was
 * replaced, nobody has watched it since, and what made this one fall may have made that one fall too.
 * @param serving generation at which the student took its place
 * @param taskDigest version of the task that the teacher answers by from now on
 */
export function demotionOf(current: Deployment, serving: bigint, taskDigest: string, who: By, now: Date): Moved {
  if (current.servingGeneration !== serving || current.studentDigest === '') {
    return { kind: 'late', deployment: current };
  }
  const { runId } = current;
  const none = { taskDigest, runId, studentDigest: '', policyDigest: '', reportDigest: '' };
  // A challenger learnt from the same teacher; where that one has changed, it goes as well.
  const sameTeacher = taskDigest === current.taskDigest;
  return moved(
    current,
    { ...none, auditShare: 0, previous: undefined, ...(sameTeacher ? {} : { challenger: undefined }) },
    { action: 'demoted', ...who, ...about(current) },
    now,
  );
}

/**
 * Takes students out of a deployment. Where one of them serves, the teacher answers again; one that waits or served before is gone, so that no
 * step and no rollback brings it back.
 */
export function barredOf(current: Deployment, students: ReadonlySet<string>, who: By, now: Date): Moved {
  const { challenger, previous } = current;
  const serves = students.has(current.studentDigest);
  const comes = challenger !== undefined && students.has(challenger.studentDigest);
  const served = previous !== undefined && students.has(previous.studentDigest);
  if (!serves && !comes && !served) return { kind: 'stands', deployment: current };
  const change: Change = {
    ...(serves ? { ...noStudent(current), auditShare: 0 } : {}),
    ...(comes ? { challenger: undefined } : {}),
    ...(serves || served ? { previous: undefined } : {}),
  };
  const it = serves ? current : comes ? challenger : (previous ?? current);
  return moved(
    current,
    change,
    { action: serves ? 'demoted' : comes ? 'dropped' : 'barred', ...who, ...about(it) },
    now,
  );
}

/** Without audits nobody would see a student fall, so it answers a canary's share, and what served before it the rest. */
export function canaryAgainOf(current: Deployment, serving: bigint, plan: Plan, who: By, now: Date): Moved {
  const gone = current.servingGeneration !== serving || current.studentDigest === '';
  if (gone || current.challenger) return { kind: 'late', deployment: current };
  const { taskDigest, studentDigest, policyDigest, reportDigest, runId } = current;
  const student = { taskDigest, studentDigest, policyDigest, reportDigest, runId };
  const challenger = { ...student, ...stageOf(Stage.CANARY, plan), ahead: [] };
  const before = current.previous ? withoutType(current.previous) : noStudent(current);
  const change = { ...before, challenger, previous: undefined, auditShare: 0 };
  return moved(current, change, { action: 'audit-spent', ...who, ...about(current) }, now);
}

/**
 * Back to what served before, as a newer generation; to no student where nothing did. The sequence of the newest
 * accepted report stays, so that a late replay of the one rolled back, or of an older one, promotes nothing. What was
 * rolled back is not kept as previous: a second rollback must not bring it back.
 * @param expectedGeneration the generation that the caller saw
 */
export function rollbackOf(
  current: Deployment,
  expectedGeneration: bigint,
  who: By,
  now: Date,
): Exclude<Moved, { kind: 'late' }> {
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
  const before = current.previous ? withoutType(current.previous) : noStudent(current);
  const change = { ...before, previous: undefined, auditShare: before.studentDigest === '' ? 0 : current.auditShare };
  return moved(current, change, { action: 'rolled-back', ...who, ...about(current) }, now, true);
}

type Change = Partial<Omit<MessageInitShape<typeof DeploymentSchema>, '$typeName'>>;
type Student = Omit<Candidate, 'task' | 'sequence'>;

/** One generation on. Whatever begins with it (a challenger's stage, a student's service) is named by it. */
function moved(
  current: Deployment,
  change: Change,
  move: MessageInitShape<typeof MoveSchema>,
  now: Date,
  serves = false,
): { kind: 'moved'; deployment: Deployment } {
  const generation = current.generation + 1n;
  const since = timestampFromDate(now);
  const { $typeName: _, ...kept } = current;
  const next = { ...kept, ...change, generation, since, move };
  const begins = change.studentDigest !== undefined || serves;
  const challenger =
    'challenger' in change && change.challenger
      ? create(ChallengerSchema, { ...change.challenger, generation, since })
      : next.challenger;
  const servingGeneration = begins ? generation : current.servingGeneration;
  return { kind: 'moved', deployment: create(DeploymentSchema, { ...next, challenger, servingGeneration }) };
}

const live = (before: Deployment, student: Student, plan: Plan, hadOne: boolean): Change => ({
  ...student,
  auditShare: plan.liveAuditShare,
  previous: hadOne ? servedBy(before) : undefined,
  challenger: undefined,
});

const stageOf = (stage: Stage, plan: Plan) => ({
  stage,
  share: stage === Stage.CANARY ? plan.canaryShare : 0,
  auditShare: stage === Stage.WAITING ? 0 : plan.stageAuditShare,
});

const about = ({ studentDigest, reportDigest }: Pick<Candidate, 'studentDigest' | 'reportDigest'>) => ({
  studentDigest,
  reportDigest,
});

const by = (action: string, reason: string) => ({ action, author: POLICY, reason });

/** A task of which nothing was served yet. */
const nobody = ({ task, taskDigest, runId }: Candidate): Deployment =>
  create(DeploymentSchema, { task, taskDigest, runId, generation: 0n });

const noStudent = ({ taskDigest, runId }: Deployment) => ({
  taskDigest,
  runId,
  studentDigest: '',
  policyDigest: '',
  reportDigest: '',
});

/** Of deployments from before moves were kept: every promotion but a task's first has a previous; a rollback has none. */
const isRolledBack = ({ generation, previous, move }: Deployment): boolean =>
  move ? move.action === 'rolled-back' : generation > 1n && previous === undefined;

const servedBy = ({ taskDigest, studentDigest, policyDigest, reportDigest, runId }: Deployment) =>
  create(PreviousSchema, { taskDigest, studentDigest, policyDigest, reportDigest, runId });

function withoutType<T extends { $typeName: string }>({ $typeName: _, ...fields }: T): Omit<T, '$typeName'> {
  return fields;
}

/** What its stage is called, where people and facts say it. */
export const stageName = ({ stage }: Pick<Challenger, 'stage'>): string => Stage[stage].toLowerCase();
