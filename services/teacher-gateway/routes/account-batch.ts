import type { MessageInitShape } from '@bufbuild/protobuf';
import type { AccountBatchRequest, AccountBatchResponseSchema } from '@understudy/contract/teacher-gateway';
import { failedPrecondition, invalidArgument } from '@understudy/service/rpc/status';
import type { AnsweringContext } from '../context.ts';

const partPattern = /^[\w-]{1,64}$/;

/** Keeps what a file of a provider's batch may cost, and what it did. */
export const accountBatch = async (
  { tasks, ledger }: AnsweringContext,
  request: AccountBatchRequest,
): Promise<MessageInitShape<typeof AccountBatchResponseSchema>> => {
  const { task, taskDigest, part } = request;
  if (!partPattern.test(part)) throw invalidArgument('part: expected 1 to 64 letters, digits, "-" and "_"');
  const { compiled } = await tasks.get(task, taskDigest);
  const reserved = { calls: Number(request.reservedCalls), microUsd: Number(request.reservedMicroUsd) };
  const spent = { calls: Number(request.spentCalls), microUsd: Number(request.spentMicroUsd) };
  if (!(await ledger.accountBatch(compiled, part, { reserved, spent }))) {
    const { calls, usd } = compiled.task.budget;
    throw failedPrecondition(
      `the batches of this version of task ${task} would be beyond its budget of ${calls} calls and $${usd}`,
    );
  }
  return {};
};
