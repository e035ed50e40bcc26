import type { RollbackRequest } from '@understudy/contract/deployer';
import type { CallContext } from '@understudy/service/rpc/server';
import { failedPrecondition, notFound } from '@understudy/service/rpc/status';
import type { DeployerContext } from '../context.ts';
import { rollbackOf } from '../moves.ts';
import { checkTaskName } from './task-name.ts';

/**
 * Back to the student before. Asked again with the same expected generation, it moves nothing further and tells the
 * demotion again: an answer may get lost, and so may the process between the move and the telling.
 */
export async function rollback(context: DeployerContext, request: RollbackRequest, call: CallContext) {
  const { deployments, journal, publisher } = context;
  const { task, reason: given, expectedGeneration } = request;
  checkTaskName(task);
  const seen = await deployments.get(task);
  if (seen === undefined) throw notFound(`no student of ${task} was promoted yet`);
  // Whatever it is at means what it is at now: a repetition within this call must not go back twice.
  const expected = expectedGeneration || seen.generation;
  const rolled = await deployments.move(task, (current) => rollbackOf(current ?? seen, expected, new Date()));
  if (rolled.kind === 'refused') throw failedPrecondition(rolled.reason);
  const { deployment } = rolled;
  const reason = given || 'rolled back on request';
  if (rolled.kind === 'moved') journal.demoted(deployment, reason);
  const { taskDigest, studentDigest, runId, generation } = deployment;
  await publisher.publish({
    type: 'student.demoted',
    entity: String(generation),
    payload: { runId, task, taskDigest, studentDigest, generation, reason },
    traceparent: call.traceparent,
  });
  return { deployment };
}
