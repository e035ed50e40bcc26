/** Students that may serve no more, because they learnt from inputs which were forgotten since. */
import type { Deployment } from '@understudy/contract/deployer';
import type { DeployerContext } from './context.ts';
import { move } from './move.ts';
import { type By, barredOf, POLICY } from './moves.ts';

/** Names a quarantine among a task's decisions: that it is there is all that there is to know. */
export const quarantineId = (studentDigest: string): string => `quarantine-${studentDigest}`;

export const isQuarantined = (
  { decisions }: Pick<DeployerContext, 'decisions'>,
  task: string,
  studentDigest: string,
): Promise<boolean> => decisions.has(task, quarantineId(studentDigest));

/** Takes the students out of a deployment, wherever they stand in it: what serves falls back to the teacher. */
export async function bar(
  context: DeployerContext,
  task: string,
  students: ReadonlySet<string>,
  who: By,
  traceparent?: string,
): Promise<Deployment | undefined> {
  if (!(await context.deployments.get(task))) return undefined;
  const made = await move(context, task, (current) => barredOf(current, students, who, new Date()), traceparent);
  return made.kind === 'refused' ? undefined : made.deployment;
}

/** A student that was quarantined while it was being promoted: whichever came first, it does not serve. */
export async function barIfQuarantined(context: DeployerContext, task: string, studentDigest: string): Promise<void> {
  if (!(await isQuarantined(context, task, studentDigest))) return;
  const reason = 'it was quarantined while it was promoted';
  await bar(context, task, new Set([studentDigest]), { author: POLICY, reason });
}
