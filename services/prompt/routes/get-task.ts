import type { GetTaskRequest } from '@understudy/contract/prompt';
import { invalidArgument, notFound } from '@understudy/service/rpc/status';
import { taskJson } from '@understudy/task';
import type { PromptContext } from '../context.ts';

export async function getTask(context: PromptContext, { task, taskDigest }: GetTaskRequest) {
  if (taskDigest !== '' && !/^[0-9a-f]{64}$/.test(taskDigest)) {
    throw invalidArgument(`task_digest: expected 64 hex digits, got ${JSON.stringify(taskDigest)}`);
  }
  const found = taskDigest === '' ? await context.tasks.newest(task) : await context.tasks.byDigest(taskDigest);
  if (found?.task.name !== task) throw notFound(`no task ${[task, taskDigest].join(' ').trim()}: apply it first`);
  return { taskJson: taskJson(found.task), taskDigest: found.digest };
}
