import type { ApplyTaskRequest } from '@understudy/contract/prompt';
import { invalidArgument } from '@understudy/service/rpc/status';
import { parseTask, policyFault, type Task, TaskError, withEpoch } from '@understudy/task';
import type { PromptContext } from '../context.ts';

export async function applyTask(context: PromptContext, { taskJson }: ApplyTaskRequest) {
  const task = validTask(taskJson);
  const fault = policyFault(task);
  if (fault !== undefined) throw invalidArgument(fault);
  const newest = await context.tasks.newest(task.name);
  // The platform may have raised the epoch because the teacher changed; the file, applied again, must not bring its old answers back.
  const epoch = Math.max(task.teacher.epoch, newest?.task.teacher.epoch ?? 0);
  const { digest, changed } = await context.tasks.apply(withEpoch(task, epoch));
  return { task: task.name, taskDigest: digest, changed };
}

function validTask(json: string): Task {
  try {
    return parseTask(json);
  } catch (error) {
    if (error instanceof TaskError) throw invalidArgument(error.message, error);
    throw error;
  }
}
