import type {
  StreamWorkloadPairsRequest,
  StreamWorkloadPairsResponse,
  WorkloadPair,
} from '@understudy/contract/pair-store';
import { invalidArgument, notFound } from '@understudy/service/rpc/status';
import type { PairStoreContext } from '../context.ts';
import { MAX_WORKLOAD_PAIRS_PER_READ, STREAM_MESSAGE_BYTES } from '../limits.ts';
import { workload, workloadPairs } from '../workloads/read-workloads.ts';

export async function* streamWorkloadPairs(
  { database }: PairStoreContext,
  { workloadId }: StreamWorkloadPairsRequest,
): AsyncGenerator<Pick<StreamWorkloadPairsResponse, 'pairs'>> {
  if (!/^[0-9a-f]{64}$/.test(workloadId)) {
    throw invalidArgument(`workload_id: expected 64 hex digits, came ${JSON.stringify(workloadId.slice(0, 100))}`);
  }
  if (!(await workload(database, workloadId))) throw notFound(`there is no workload ${workloadId}`);
  let from = 0;
  for (;;) {
    const rows = await workloadPairs(database, workloadId, from, MAX_WORKLOAD_PAIRS_PER_READ);
    let pairs: WorkloadPair[] = [];
    let bytes = 0;
    for (const { pair } of rows) {
      pairs.push(pair);
      bytes += pair.input.length + pair.output.length;
      if (bytes < STREAM_MESSAGE_BYTES) continue;
      yield { pairs };
      pairs = [];
      bytes = 0;
    }
    if (pairs.length > 0) yield { pairs };
    if (rows.length < MAX_WORKLOAD_PAIRS_PER_READ) return;
    from = rows.at(-1)!.rank + 1;
  }
}
