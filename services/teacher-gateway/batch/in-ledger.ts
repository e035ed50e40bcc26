/** What a batch may cost, and did, in the ledger that runs are held against too. Every step can be repeated. */
import { status } from '@grpc/grpc-js';
import { messageOf } from '@understudy/service/errors';
import { RpcError } from '@understudy/service/rpc/status';
import { BatchError, type Book, type Outcome, type Part, type Totals } from './book.ts';
import type { BatchContext } from './context.ts';
import { boundOfPart } from './plan.ts';

const nothing = { reservedCalls: 0n, reservedMicroUsd: 0n, spentCalls: 0n, spentMicroUsd: 0n };

const tell = async (
  { gateway, request }: BatchContext,
  { key }: Part,
  cost: Partial<typeof nothing>,
): Promise<void> => {
  const { task, taskDigest } = request;
  await gateway.accountBatch({ task, taskDigest, part: key, ...nothing, ...cost });
};

/**
 * Reserves what the parts of which nothing was sent can cost at most; that of all others was reserved before they were sent.
 * @throws BatchError when the budget has no room for one of them; then none of them is reserved any more
 */
export const reserved = async (context: BatchContext, book: Book): Promise<void> => {
  const unsent = book.parts().filter(({ state }) => state === 'planned');
  for (const part of unsent) {
    const bound = BigInt(boundOfPart(context, book, part.number));
    try {
      await tell(context, part, { reservedCalls: BigInt(part.prompts), reservedMicroUsd: bound });
    } catch (cause) {
      if (!(cause instanceof RpcError && cause.code === status.FAILED_PRECONDITION)) throw cause;
      for (const other of unsent) await forgotten(context, other);
      throw new BatchError(`part ${part.number}: ${messageOf(cause)}; nothing of it was sent`, { cause });
    }
  }
};

/** A part that the provider refused as a whole, and asked nothing of. */
export const forgotten = (context: BatchContext, part: Part): Promise<void> => tell(context, part, {});

/** What a part came to. A prompt that the provider says nothing of was not asked. */
export const settled = (
  context: BatchContext,
  part: Part,
  outcomes: readonly Outcome[],
  { spentUsd }: Totals,
): Promise<void> =>
  tell(context, part, {
    spentCalls: BigInt(outcomes.filter(([, outcome]) => !outcome.startsWith('no-line')).length),
    spentMicroUsd: BigInt(Math.ceil(spentUsd * 1e6 - 1e-6)),
  });
