/** Following a run to its end, over restarts of the service that is asked. */
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Verdict } from '@understudy/contract';
import { RunStage, type RunState } from '@understudy/contract/prompt';
import { RetryableError } from '@understudy/service/errors';
import { loadTask, parseTask, type Task, taskJson } from '@understudy/task';
import type { Connection } from './connect.ts';
import { displayFor } from './display.ts';
import { ExitError, exitCodes } from './errors.ts';
import type { Output } from './output.ts';

const reconnectMs = 500;
/** Longer than the supervisor tries to bring a service back. */
const giveUpAfterMs = 120_000;

/** Shows a run until it is finished. @throws RetryableError when the service stays away, ExitError when it is interrupted */
export const followRun = async (
  connection: Connection,
  runId: string,
  output: Output,
  signal: AbortSignal,
): Promise<RunState> => {
  const display = displayFor(output);
  try {
    return await watch(connection, runId, signal, (run) => display.update(run));
  } finally {
    await display.end();
  }
};

/** Every state of a run until it is finished. */
export const watch = async (
  { prompt }: Connection,
  runId: string,
  signal: AbortSignal,
  seen: (run: RunState) => void,
): Promise<RunState> => {
  let lastHeardMs = performance.now();
  for (;;) {
    try {
      for await (const { run } of prompt.watchRun({ runId }, { signal })) {
        if (!run) continue;
        lastHeardMs = performance.now();
        seen(run);
        if (run.stage === RunStage.FINISHED) return run;
      }
    } catch (error) {
      if (signal.aborted) throw interrupted(runId);
      if (!(error instanceof RetryableError) || performance.now() - lastHeardMs > giveUpAfterMs) throw error;
    }
    if (signal.aborted) throw interrupted(runId);
    await sleep(reconnectMs);
  }
};

const interrupted = (runId: string) =>
  new ExitError(
    exitCodes.interrupted,
    `interrupted; run ${runId} is not finished: the same command again goes on with it`,
  );

/** Aborted by Ctrl-C or SIGTERM, which then no longer end this process by themselves. */
export const interruption = (): AbortSignal => {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => controller.abort());
  return controller.signal;
};

/** Gives a task to the platform; says the digest of this version, and whether it is a new one. */
export const applyTask = async (
  { prompt }: Connection,
  task: Task,
): Promise<{ task: Task; digest: string; changed: boolean }> => {
  const { taskDigest, changed } = await prompt.applyTask({ taskJson: taskJson(task) });
  return { task, digest: taskDigest, changed };
};

/** A task by its name, or a file of one, which is applied first. */
export const taskFrom = async (connection: Connection, taskOrFile: string): Promise<{ task: Task; digest: string }> => {
  if (existsSync(taskOrFile)) return applyTask(connection, await loadTask(taskOrFile));
  const { taskJson, taskDigest } = await connection.prompt.getTask({ task: taskOrFile });
  return { task: parseTask(taskJson), digest: taskDigest };
};

/** Starts a run of a task's version, or finds the one that is not finished yet. */
export const startOrResume = async (
  { prompt }: Connection,
  task: string,
  digest: string,
  output: Output,
): Promise<string> => {
  const { runs } = await prompt.listRuns({ task });
  const open = runs.find((run) => run.taskDigest === digest && run.stage !== RunStage.FINISHED);
  if (open) {
    output.note(`run ${open.runId} of ${task} is not finished: going on with it`);
    return open.runId;
  }
  const { runId } = await prompt.startRun({ task });
  output.note(`run ${runId} of ${task} started`);
  return runId;
};

/** @throws ExitError when the run promoted nothing */
export const requirePromoted = (run: RunState): void => {
  if (run.verdict === Verdict.PROMOTED || run.verdict === Verdict.PROVEN) return;
  throw new ExitError(exitCodes.notPromoted, `run ${run.runId} promoted no student: ${run.reason}`);
};

/** The newest run of a task, or the run of that id. @throws ExitError when there is none */
export const findRun = async ({ prompt }: Connection, taskOrRun: string): Promise<RunState> => {
  const { runs } = await prompt.listRuns({});
  const found = runs
    .filter((run) => run.runId === taskOrRun || run.task === taskOrRun)
    .sort((a, b) => Number((b.startedAt?.seconds ?? 0n) - (a.startedAt?.seconds ?? 0n)))[0];
  if (found) return found;
  throw new ExitError(exitCodes.badInput, `there is no run and no task with runs called ${JSON.stringify(taskOrRun)}`);
};
