import type { CancelRunRequest } from '@understudy/contract/prompt';
import { notFound } from '@understudy/service/rpc/status';
import type { PromptContext } from '../context.ts';

/** Ends a run; one that is over already stays as it is. */
export async function cancelRun(context: PromptContext, { runId, reason }: CancelRunRequest) {
  const run = await context.runs.tell(runId, { type: 'cancelled', reason: reason || 'cancelled on request' });
  if (run === undefined) throw notFound(`no run ${runId}`);
  return { run: run.state };
}
