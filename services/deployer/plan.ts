/** Which stages a proven student passes, and who watches: what a task's policy comes to. No I/O. */
import { type Deployment, Stage } from '@understudy/contract/deployer';
import { auditPolicyOf, deploymentPolicyOf, isAuditable, type Task } from '@understudy/task';

export interface Plan {
  /** Version of the task of the student that it goes beside; empty beside none. */
  beside: string;
  /** Before it is live, in order. */
  ahead: Stage[];
  canaryShare: number;
  /** Share that is compared while in a stage. */
  stageAuditShare: number;
  /** Share of answers that is compared once live. */
  liveAuditShare: number;
  /** The rule that led to these stages. */
  why: string;
}

const stages = { shadow: Stage.SHADOW, canary: Stage.CANARY } as const;

/**
 * @param task the version that the candidate was proven for
 * @param serving the task version of the student that serves; undefined where none does
 */
export function planOf(task: Task, serving: Task | undefined, current: Deployment | undefined): Plan {
  const policy = deploymentPolicyOf(task);
  const asked = policy.stages ?? (serving ? (['shadow', 'canary'] as const) : []);
  const hindrance = hindranceOf(task, serving);
  const passed = hindrance === undefined ? asked.map((stage) => stages[stage]) : [];
  const waits = policy.approval === 'required';
  const auditable = isAuditable(task);
  return {
    beside: besideOf(current),
    ahead: [...(waits ? [Stage.WAITING] : []), ...passed],
    canaryShare: policy.canaryShare,
    stageAuditShare: auditable ? policy.auditShare : 0,
    liveAuditShare: auditable ? auditPolicyOf(task).share : 0,
    why: [
      waits ? 'deployment.approval is required' : '',
      whyThese(asked.length, hindrance, serving !== undefined),
      auditable ? '' : 'nobody will watch it: live.audit allows no checks',
    ]
      .filter((text) => text !== '')
      .join('; '),
  };
}

function whyThese(asked: number, hindrance: string | undefined, serves: boolean): string {
  if (asked > 0 && hindrance !== undefined) return `live on the gate's proof: ${hindrance}`;
  if (asked > 0) return serves ? 'a student serves, so live traffic decides' : 'deployment.stages asks for it';
  return serves
    ? "live on the gate's proof: deployment.stages asks for none"
    : "live on the gate's proof: no student serves";
}

/** Why live traffic cannot compare the two. */
function hindranceOf(task: Task, serving: Task | undefined): string | undefined {
  if (!isAuditable(task)) return 'live.audit allows no checks';
  if (serving === undefined) return undefined;
  const shape = ({ input, output }: Task) => JSON.stringify([input.fields, output.schema]);
  if (shape(task) !== shape(serving)) return 'its input or output is not that of the student that serves';
  return undefined;
}

export const hasStudent = (deployment: Deployment | undefined): deployment is Deployment =>
  deployment !== undefined && deployment.studentDigest !== '';

export const besideOf = (deployment: Deployment | undefined): string =>
  hasStudent(deployment) ? deployment.taskDigest : '';
