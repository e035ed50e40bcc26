/**
 * Asks a task's teacher through the provider's batch files: `understudy batch` starts it, with a `BatchRequest` as its one
 * argument, and hears by IPC how it goes. It can be killed at any point; the same again goes on.
 */
import type { BatchMessage } from '@understudy/cli/batch-report';
import { messageOf, StartupError } from '@understudy/service/errors';
import { RpcError } from '@understudy/service/rpc/status';
import { TeacherError } from '../teachers/teacher.ts';
import { BatchError } from './book.ts';
import { openContext } from './context.ts';
import { runBatch } from './run-batch.ts';

const tell = (message: BatchMessage) => process.send?.(message);

// Whoever started it is gone, and would find the batch held by nobody that can be seen.
const orphaned = () => process.exit(1);
process.on('disconnect', orphaned);

/** Exit codes as the command line has them: 2 for what a person has to change. */
const codeOf = (error: unknown): number => {
  const forPeople = [BatchError, StartupError, RpcError].some((kind) => error instanceof kind);
  return forPeople || (error instanceof TeacherError && !error.retryable) ? 2 : 1;
};

try {
  using context = await openContext(process.argv[2] ?? '{}', process.env);
  tell({ report: await runBatch(context, (note) => tell({ note })) });
} catch (error) {
  tell({ failed: messageOf(error) });
  process.exitCode = codeOf(error);
} finally {
  process.off('disconnect', orphaned);
  process.disconnect?.();
}
