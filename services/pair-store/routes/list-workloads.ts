import type { ListWorkloadsRequest, ListWorkloadsResponse } from '@understudy/contract/pair-store';
import { invalidArgument } from '@understudy/service/rpc/status';
import type { PairStoreContext } from '../context.ts';
import { workload, workloadIds } from '../workloads/read-workloads.ts';

export async function* listWorkloads(
  { database }: PairStoreContext,
  { idPrefix }: ListWorkloadsRequest,
): AsyncGenerator<Pick<ListWorkloadsResponse, 'workload'>> {
  if (!/^[0-9a-f]{0,64}$/.test(idPrefix)) {
    throw invalidArgument(`id_prefix: expected up to 64 hex digits, came ${JSON.stringify(idPrefix.slice(0, 100))}`);
  }
  for (const id of await workloadIds(database, idPrefix)) {
    const found = await workload(database, id);
    if (found) yield { workload: found };
  }
}
