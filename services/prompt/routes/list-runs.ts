import type { ListRunsRequest } from '@understudy/contract/prompt';
import type { PromptContext } from '../context.ts';
import { MAX_LISTED_RUNS } from '../limits.ts';

export async function listRuns(context: PromptContext, { task }: ListRunsRequest) {
  const runs = await context.runStore.list();
  const wanted = runs.filter(({ state }) => task === '' || state.task === task);
  return { runs: wanted.slice(0, MAX_LISTED_RUNS).map(({ state }) => state) };
}
