import type { RollbackRequest } from '@understudy/contract/deployer';
import type { CallContext } from '@understudy/service/rpc/server';
import { failedPrecondition, notFound } from '@understudy/service/rpc/status';
import type { DeployerContext } from '../context.ts';
import { rollbackOf } from '../moves.ts';
import { tell } from '../tell.ts';
import { checkTaskName } from './task-name.ts';

/** Whose word it was, where nobody gave a name: callers hold the platform's token. */
const OPERATOR = 'operator';

/**
 * Back to the student before. Asked again with the same expected generation, it moves nothing further and tells the
 * demotion again: an answer may get lost, and so may the process between the move and the telling.
 */
export async function rollback(context: DeployerContext, request: RollbackRequest, call: CallContext) {
  const { deployments, journal } = context;
  const { task, reason, expectedGeneration } = request;
  checkTaskName(task);
  const seen = await deployments.get(task);
  if (seen === undefined) throw notFound(`no student of ${task} was promoted yet`);
  // Whatever it is at means what it is at now: a repetition within this call must not go back twice.
  const expected = expectedGeneration || seen.generation;
  const who = { author: request.author || OPERATOR, reason: reason || 'rolled back on request' };
  const rolled = await deployments.move(task, (current) => rollbackOf(current ?? seen, expected, who, new Date()));
  if (rolled.kind === 'refused') throw failedPrecondition(rolled.reason);
  if (rolled.kind === 'moved') journal.moved(rolled.deployment);
  await tell(context, rolled.deployment, call.traceparent);
  return { deployment: rolled.deployment };
}
