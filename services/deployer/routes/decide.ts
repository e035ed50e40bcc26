import type { ApproveRequest, Challenger, Deployment, RejectRequest } from '@understudy/contract/deployer';
import type { CallContext } from '@understudy/service/rpc/server';
import { failedPrecondition, invalidArgument, notFound } from '@understudy/service/rpc/status';
import type { DeployerContext } from '../context.ts';
import { MAX_AUTHOR_CHARACTERS, MAX_REASON_CHARACTERS } from '../limits.ts';
import { move } from '../move.ts';
import { type By, dropOf, stepOf } from '../moves.ts';
import { checkTaskName } from './task-name.ts';

/** A person lets the challenger go on: out of waiting, or to its next stage without further evidence. */
export async function approve(context: DeployerContext, request: ApproveRequest, { traceparent }: CallContext) {
  const { deployment, challenger, who } = await meant(context, request);
  const plan = await context.standings.plan(challenger.taskDigest, deployment);
  const expected = { challenger: challenger.generation };
  const made = await move(context, request.task, (now) => stepOf(now, expected, plan, who, new Date()), traceparent);
  return { deployment: moved(made) };
}

/** A person sends the challenger away. */
export async function reject(context: DeployerContext, request: RejectRequest, { traceparent }: CallContext) {
  const { challenger, who } = await meant(context, request);
  const expected = { challenger: challenger.generation };
  const made = await move(
    context,
    request.task,
    (now) => dropOf(now, expected, 'rejected', who, new Date()),
    traceparent,
  );
  return { deployment: moved(made) };
}

function moved(made: Awaited<ReturnType<typeof move>>): Deployment {
  if (made.kind === 'moved') return made.deployment;
  const reason = made.kind === 'refused' ? made.reason : 'the challenger moved meanwhile';
  throw failedPrecondition(`${reason}; look at the deployment again and decide anew`);
}

/** What a person's decision is about. */
async function meant(
  { deployments }: DeployerContext,
  { task, studentDigest, author, reason, expectedGeneration }: ApproveRequest | RejectRequest,
): Promise<{ deployment: Deployment; challenger: Challenger; who: By }> {
  checkTaskName(task);
  const who = {
    author: said('author', author, MAX_AUTHOR_CHARACTERS),
    reason: said('reason', reason, MAX_REASON_CHARACTERS),
  };
  const deployment = await deployments.get(task);
  if (deployment === undefined) throw notFound(`no student of ${task} was proven yet`);
  if (expectedGeneration !== 0n && deployment.generation !== expectedGeneration) {
    throw failedPrecondition(
      `expected ${task} to be at generation ${expectedGeneration}, it is at ${deployment.generation}; look at the deployment again and decide anew`,
    );
  }
  const { challenger } = deployment;
  if (!challenger) throw failedPrecondition(`no student of ${task} is on its way, so there is nothing to decide`);
  if (!challenger.studentDigest.startsWith(studentDigest)) {
    throw failedPrecondition(
      `the student of ${task} that is on its way is ${challenger.studentDigest}, not ${studentDigest}`,
    );
  }
  return { deployment, challenger, who };
}

function said(field: string, text: string, most: number): string {
  const trimmed = text.trim();
  if (trimmed !== '' && trimmed.length <= most) return trimmed;
  throw invalidArgument(
    `${field}: expected 1 to ${most} characters, got ${trimmed.length}: decisions are kept with their ${field}`,
  );
}
