import { BlobError, type BlobStore } from '@understudy/service/blobs/blob-store';
import { TerminalError } from '@understudy/service/errors';
import { type CompiledTask, compileTask, parseTask, TaskError } from '@understudy/task';
import type { Order } from './order.ts';

/**
 * The order's task, by digest.
 * @throws TerminalError when it is not stored, damaged, or another task than the event says
 */
export async function loadTask(blobs: BlobStore, order: Order): Promise<CompiledTask> {
  let task: CompiledTask;
  try {
    const json = new TextDecoder().decode(await blobs.get('tasks', order.taskDigest));
    task = compileTask(parseTask(json, `task ${order.taskDigest}`));
  } catch (error) {
    const hopeless = error instanceof TaskError || (error instanceof BlobError && !error.retryable);
    throw hopeless ? new TerminalError(`tasks/${order.taskDigest} cannot be used`, { cause: error }) : error;
  }
  if (task.task.name === order.task && task.digest === order.taskDigest) return task;
  throw new TerminalError(
    `pairs.sealed is of ${order.task}, but the blob tasks/${order.taskDigest} holds ${task.task.name} (${task.digest})`,
  );
}
