import type { MessageInitShape } from '@bufbuild/protobuf';
import type { GetLedgerRequest, GetLedgerResponseSchema } from '@understudy/contract/teacher-gateway';
import { invalidArgument } from '@understudy/service/rpc/status';
import type { AnsweringContext } from '../context.ts';

/** What a run has spent and reserved, or batches of a version; live requests of today (UTC) where neither is named. */
export const getLedger = async (
  { ledger }: AnsweringContext,
  { task, runId, batchOf }: GetLedgerRequest,
): Promise<MessageInitShape<typeof GetLedgerResponseSchema>> => {
  if (!/^[a-z0-9-]{1,48}$/.test(task)) throw invalidArgument('task: expected the name of a task');
  const { spent, reserved, expired } =
    batchOf === '' ? await ledger.totals(task, runId) : await ledger.totalsOfBatches(task, batchOf);
  return {
    spentMicroUsd: BigInt(spent.microUsd),
    calls: BigInt(spent.calls),
    reservedMicroUsd: BigInt(reserved.microUsd),
    reservedCalls: BigInt(reserved.calls),
    expiredMicroUsd: BigInt(expired.microUsd),
    expiredCalls: BigInt(expired.calls),
  };
};
