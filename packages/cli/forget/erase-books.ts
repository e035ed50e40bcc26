import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { RetryableError } from '@understudy/service/errors';
import { root } from '../connect.ts';

/** What the program says of the batches that `understudy batch` keeps on this machine. */
export interface ErasedBooks {
  prompts: number;
  /** What only their provider can delete. */
  remains: string[];
}

/**
 * A process of its own, because packages import no service, and the books are the teacher gateway's.
 * @throws RetryableError saying why it cannot: another erasure, or a batch, may be at work on one of them
 */
export const eraseBooks = async (folder: string, task: string, ids: readonly string[]): Promise<ErasedBooks> => {
  const program = join(root, 'services/teacher-gateway/batch/erase.ts');
  const child = fork(program, [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  let answer: ErasedBooks | { failed: string } | undefined;
  child.on('message', (message: typeof answer) => {
    answer = message;
  });
  child.send({ folder, task, ids });
  await once(child, 'close');
  if (answer && 'prompts' in answer) return answer;
  throw new RetryableError(answer?.failed ?? 'the process that erases from batches ended before it was done');
};
