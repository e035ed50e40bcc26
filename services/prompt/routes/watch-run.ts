import type { WatchRunRequest } from '@understudy/contract/prompt';
import type { CallContext } from '@understudy/service/rpc/server';
import { notFound } from '@understudy/service/rpc/status';
import type { PromptContext } from '../context.ts';

export async function* watchRun(context: PromptContext, { runId }: WatchRunRequest, call: CallContext) {
  if ((await context.runStore.get(runId)) === undefined) throw notFound(`no run ${runId}`);
  for await (const run of context.runStore.watch(runId, call.signal)) yield { run: run.state };
}
