import type { ListReportsRequest } from '@understudy/contract/evaluator';
import { invalidArgument } from '@understudy/service/rpc/status';
import type { EvaluatorContext } from '../context.ts';
import { MAX_LISTED_BYTES } from '../limits.ts';
import { responseOf } from './response.ts';

const TASK = /^[a-z0-9-]{1,48}$/;

/** Reports of a task, newest first, as many as fit into one answer. */
export async function listReports(context: EvaluatorContext, { task }: ListReportsRequest) {
  if (!TASK.test(task))
    throw invalidArgument(`task: expected 1 to 48 of a-z, 0-9 and "-", got ${JSON.stringify(task)}`);
  const reports: ReturnType<typeof responseOf>[] = [];
  let bytes = 0;
  for await (const kept of context.reports.ofTask(task)) {
    bytes += Buffer.byteLength(kept.json);
    if (bytes > MAX_LISTED_BYTES) break;
    reports.push(responseOf(kept));
  }
  return { reports };
}
