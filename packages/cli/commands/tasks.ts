/** `apply`, `run`, `watch`, `cancel`: tasks and their runs. */
import { toJson } from '@bufbuild/protobuf';
import { RunStage, RunStateSchema } from '@understudy/contract/prompt';
import { loadTask, parseTask } from '@understudy/task';
import { connect } from '../connect.ts';
import {
  applyTask,
  findRun,
  followRun,
  interruption,
  requirePromoted,
  startOrResume,
  taskFrom,
  watch,
} from '../follow-run.ts';
import { moment } from '../format.ts';
import type { Output } from '../output.ts';
import { printReport } from '../report.ts';

/** Checks a task file, and gives the task to the platform unless only the check is wanted. */
export const apply = async (output: Output, file: string, options: { check?: boolean }): Promise<void> => {
  const task = await loadTask(file);
  if (options.check) {
    return output.answer({ task: task.name, valid: true }, () => [`${file} is a valid task: ${task.name}`]);
  }
  using connection = connect();
  const { digest, changed } = await applyTask(connection, task);
  output.answer({ task: task.name, digest, changed }, () => [
    changed ? `task ${task.name} applied (${digest.slice(0, 12)})` : `task ${task.name} is as it was applied before`,
  ]);
};

/** Runs a task to its verdict; a file is applied first. */
export const run = async (output: Output, taskOrFile: string, options: { detach?: boolean }): Promise<void> => {
  using connection = connect();
  const { task, digest } = await taskFrom(connection, taskOrFile);
  const runId = await startOrResume(connection, task.name, digest, output);
  if (options.detach) return output.answer({ runId }, () => [runId]);
  const finished = await followRun(connection, runId, output, interruption());
  await printReport(connection, finished, task, output);
  requirePromoted(finished);
};

/** Follows a run to its end; with --json every state is a line. */
export const watchRun = async (output: Output, taskOrRun: string): Promise<void> => {
  using connection = connect();
  const found = await findRun(connection, taskOrRun);
  if (output.json) {
    const finished = await watch(connection, found.runId, interruption(), (state) => {
      output.answer(toJson(RunStateSchema, state) as object, () => []);
    });
    return requirePromoted(finished);
  }
  if (found.stage === RunStage.FINISHED) output.note(`run ${found.runId} ended at ${moment(found.finishedAt)}`);
  const finished = await followRun(connection, found.runId, output, interruption());
  const { taskJson } = await connection.prompt.getTask({ task: found.task, taskDigest: found.taskDigest });
  await printReport(connection, finished, parseTask(taskJson), output);
  requirePromoted(finished);
};

/** Ends a run; no stage spends on it any more. */
export const cancel = async (output: Output, taskOrRun: string, options: { reason?: string }): Promise<void> => {
  using connection = connect();
  const { runId } = await findRun(connection, taskOrRun);
  const { run: state } = await connection.prompt.cancelRun({ runId, reason: options.reason ?? '' });
  output.answer({ runId, reason: state?.reason }, () => [`run ${runId}: ${state?.reason}`]);
};
