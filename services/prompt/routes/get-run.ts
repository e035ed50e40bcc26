import type { GetRunRequest } from '@understudy/contract/prompt';
import { notFound } from '@understudy/service/rpc/status';
import type { PromptContext } from '../context.ts';

export async function getRun(context: PromptContext, { runId }: GetRunRequest) {
  const run = await context.runStore.get(runId);
  if (run === undefined) throw notFound(`no run ${runId}`);
  return { run: run.state };
}
