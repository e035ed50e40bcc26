import type { ApplyTaskRequest } from '@understudy/contract/prompt';
import { invalidArgument } from '@understudy/service/rpc/status';
import { parseTask, type Task, TaskError } from '@understudy/task';
import type { PromptContext } from '../context.ts';

export async function applyTask(context: PromptContext, { taskJson }: ApplyTaskRequest) {
  const task = validTask(taskJson);
  const { digest, changed } = await context.tasks.apply(task);
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
