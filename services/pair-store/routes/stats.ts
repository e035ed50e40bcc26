import type { StatsRequest } from '@understudy/contract/pair-store';
import { invalidArgument } from '@understudy/service/rpc/status';
import type { PairStoreContext } from '../context.ts';
import { runStats, statsBeyond, taskStats } from '../store/stats.ts';
import { manifestFor } from './get-snapshot.ts';

export async function stats({ database, blobs }: PairStoreContext, { task, runId, snapshotDigest }: StatsRequest) {
  if (snapshotDigest !== '') return statsBeyond(database, await manifestFor(blobs, snapshotDigest));
  if (task === '' && runId === '') {
    throw invalidArgument('expected a task, a run_id or a snapshot_digest, came none of them');
  }
  return runId === '' ? taskStats(database, task) : runStats(database, runId);
}
