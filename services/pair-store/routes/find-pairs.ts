import type { FindPairsRequest } from '@understudy/contract/pair-store';
import { invalidArgument } from '@understudy/service/rpc/status';
import type { PairStoreContext } from '../context.ts';
import { MAX_FIND_IDS } from '../limits.ts';
import { findPairs as find } from '../store/find.ts';

export async function findPairs({ database }: PairStoreContext, { task, pairIds }: FindPairsRequest) {
  if (pairIds.length > MAX_FIND_IDS) {
    throw invalidArgument(`pair_ids: expected at most ${MAX_FIND_IDS}, came ${pairIds.length}; ask several times`);
  }
  const malformed = pairIds.find((id) => !/^[0-9a-f]{64}$/.test(id));
  if (malformed !== undefined) {
    throw invalidArgument(`pair_ids: expected 64 hex digits each, came ${JSON.stringify(malformed.slice(0, 100))}`);
  }
  return { pairs: pairIds.length === 0 ? [] : await find(database, task, pairIds) };
}
