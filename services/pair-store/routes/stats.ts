import type { StatsRequest } from '@understudy/contract/pair-store';
import { invalidArgument } from '@understudy/service/rpc/status';
import type { PairStoreContext } from '../context.ts';
import { runStats, taskStats } from '../store/stats.ts';

export async function stats({ database }: PairStoreContext, { task, runId }: StatsRequest) {
  if (task === '' && runId === '') throw invalidArgument('expected a task, or a run_id, came neither');
  return runId === '' ? taskStats(database, task) : runStats(database, runId);
}
