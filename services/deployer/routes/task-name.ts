import { invalidArgument } from '@understudy/service/rpc/status';

const TASK = /^[a-z0-9-]{1,48}$/;

/** @throws RpcError INVALID_ARGUMENT for what cannot be the name of a task */
export function checkTaskName(task: string): void {
  if (!TASK.test(task)) {
    throw invalidArgument(`task: expected 1 to 48 of a-z, 0-9 and "-", got ${JSON.stringify(task)}`);
  }
}
