/** How a proven student comes to serve, is watched while it does, and when another one is made: parts of a task. */
import { z } from 'zod';
import type { Task } from './schema.ts';
import { strict } from './strict.ts';

const fraction = z.number().min(0).max(1);

/** What audits may cost each day (UTC), apart from live requests and runs. */
export const AuditSchema = strict({
  /** Share of a serving student's answers that is checked. 1%: at 60,000 answers a day a fall from 97% to 90% is seen the same day. */
  share: fraction.default(0.01),
  /** Checks of answers and of the teacher itself. The gateway spreads them over the day. */
  callsPerDay: z.int().min(0).default(1_000),
  /** 0: a teacher that has a price is asked for no check until the task's owner says what that may cost. */
  usdPerDay: z.number().min(0).default(0),
  /** How often the teacher is asked the same prompts again, to see whether it has changed. */
  canaryHours: z.number().min(0.001).max(720).default(6),
});

export const ForgetPolicySchema = strict({
  /**
   * quarantine: they are not promoted any more, and where one serves the teacher answers again. The default, because it can be taken back: the pairs
   * that are left are paid for, and a run on them makes another student. What a kept student still tells cannot be.
   */
  students: z.enum(['keep', 'quarantine']).default('quarantine'),
});
export type ForgetPolicy = z.infer<typeof ForgetPolicySchema>;

/** A task's policy; the defaults where it says nothing. */
export const forgetPolicyOf = ({ forget }: Pick<Task, 'forget'>): ForgetPolicy =>
  ForgetPolicySchema.parse(forget ?? {});

export const DeploymentPolicySchema = strict({
  /** required: whatever is proven waits for `understudy approve`. */
  approval: z.enum(['automatic', 'required']).default('automatic'),
  /** What comes before live. Where absent: nothing where no student serves, both beside one that does. */
  stages: z
    .array(z.enum(['shadow', 'canary']))
    .max(2)
    .refine((stages) => stages.join() !== 'canary,shadow' && new Set(stages).size === stages.length, {
      error: 'expected shadow before canary, each at most once',
    })
    .optional(),
  /** Share of the requests that a canary answers. */
  canaryShare: z.number().min(0.001).max(0.99).default(0.1),
  /** Share of requests, or of a canary's answers, that is compared while a student is in a stage. */
  auditShare: z.number().min(0.0001).max(1).default(0.2),
  /** A step forward needs evidence that live agreement is no further below the goal: the goal itself was proven by the gate. */
  tolerance: fraction.default(0.02),
  retrain: z
    .strictObject({
      /** Runs that begin by themselves, in any seven days. 0: never. Each may spend the budget of a run. */
      runsPerWeek: z.int().min(0).max(1_000).default(1),
      /** Between two of them: what made the last student fall may not have passed yet. */
      cooldownMinutes: z.number().min(0).max(10_080).default(60),
      /**
       * New pairs in train, as a share of those that the serving student learnt from, at which a run begins; again at twice as many, and so on. 0: never.
       * Twice the pairs leave about four fifths of the disagreements, where these fall as pairs^-0.3.
       */
      newPairsShare: z.number().min(0).max(1_000).default(1),
    })
    .prefault({}),
});

export type AuditPolicy = z.infer<typeof AuditSchema>;
export type DeploymentPolicy = z.infer<typeof DeploymentPolicySchema>;

/** A task's `deployment` with what it leaves to the defaults. */
export const deploymentPolicyOf = (task: Task): DeploymentPolicy => DeploymentPolicySchema.parse(task.deployment ?? {});

/** A task's `live.audit` with what it leaves to the defaults. */
export const auditPolicyOf = (task: Task): AuditPolicy => AuditSchema.parse(task.live.audit ?? {});

/** Whether the task lets anybody check answers: it has calls, and money where its teacher has a price. */
export function isAuditable(task: Task): boolean {
  const { share, callsPerDay, usdPerDay } = auditPolicyOf(task);
  return share > 0 && callsPerDay > 0 && (usdPerDay > 0 || !hasPrice(task));
}

/**
 * What a task asks of its deployment that cannot be done, for whoever applies it; undefined where there is nothing. Versions that were applied before
 * are not held against it: their students go live on the gate's proof, and the audit log says so.
 */
export function policyFault(task: Task): string | undefined {
  const { stages = [] } = deploymentPolicyOf(task);
  if (stages.length === 0 || isAuditable(task)) return undefined;
  const money = hasPrice(task) ? ', and live.audit.usdPerDay above 0 because the teacher has a price' : '';
  return `deployment.stages: got ${stages.join(', ')}, but live.audit allows no checks, so no stage could ever be passed; expected live.audit.share and callsPerDay above 0${money}, or no stages`;
}

/** The same task, its teacher taken for another: all that it answered before counts no more. */
export function withEpoch(task: Task, epoch: number): Task {
  return { ...task, teacher: { ...task.teacher, epoch } };
}

function hasPrice({ teacher }: Task): boolean {
  if (!('pricing' in teacher) || teacher.pricing === undefined) return false;
  return Object.values(teacher.pricing).some((usd) => typeof usd === 'number' && usd > 0);
}
