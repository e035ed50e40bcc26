import { randomUUID } from 'node:crypto';
import type { StartRunRequest } from '@understudy/contract/prompt';
import type { CallContext } from '@understudy/service/rpc/server';
import { failedPrecondition, invalidArgument, notFound } from '@understudy/service/rpc/status';
import { beginOwn, objectionTo } from '../begin.ts';
import type { PromptContext } from '../context.ts';
import { isRunId } from '../run-store.ts';

/** Starts a run of the newest version of a task; the same run id again is the same run. */
export async function startRun(context: PromptContext, request: StartRunRequest, call: CallContext) {
  const runId = request.runId || randomUUID();
  if (!isRunId(runId)) {
    throw invalidArgument(`run_id: expected 1 to 64 of A-Z, a-z, 0-9, _ and -, got ${JSON.stringify(runId)}`);
  }
  const known = await context.runStore.get(runId);
  if (known !== undefined) return { runId: ofTask(runId, known.state.task, request.task) };
  const compiled = await context.tasks.newest(request.task);
  if (compiled === undefined) throw notFound(`no task ${request.task}: apply it first`);
  const objection = await objectionTo(context, compiled, false);
  if (objection !== undefined) throw failedPrecondition(objection);

  const kept = await beginOwn(context, compiled, runId, call.traceparent);
  return { runId: ofTask(runId, kept.state.task, request.task) };
}

function ofTask(runId: string, task: string, wanted: string): string {
  if (task === wanted) return runId;
  throw failedPrecondition(`run ${runId} is of task ${task}, not of ${wanted}; choose another run_id`);
}
