/** `up` and `start`: the platform on this machine. */
import { join, relative } from 'node:path';
import { loadTask } from '@understudy/task';
import { connect, root } from '../connect.ts';
import { applyTask, followRun, requirePromoted, startOrResume } from '../follow-run.ts';
import type { Output } from '../output.ts';
import { printReport } from '../report.ts';
import { SupervisorProcess } from '../supervisor-process.ts';

export const exampleTask = join(root, 'examples/email-triage/task.yaml');

/** Serves until Ctrl-C. */
export const up = async (output: Output): Promise<void> => {
  const supervisor = new SupervisorProcess(output);
  passOnSignals(supervisor);
  await supervisor.untilStopped();
};

/** Starts the platform, runs a task to its verdict, prints the report, and stops the platform. */
export const start = async (output: Output, file: string): Promise<void> => {
  const task = await loadTask(file);
  const supervisor = new SupervisorProcess(output);
  const ended = new AbortController();
  passOnSignals(supervisor, ended);
  const work = async () => {
    await supervisor.serving();
    using connection = connect();
    const { digest, changed } = await applyTask(connection, task);
    output.note(
      `task ${task.name} of ${relative(process.cwd(), file)} ${changed ? 'applied' : 'is as it was applied before'}`,
    );
    const runId = await startOrResume(connection, task.name, digest, output);
    const run = await followRun(connection, runId, output, ended.signal);
    await printReport(connection, run, task, output);
    return run;
  };
  const working = work();
  try {
    requirePromoted(await Promise.race([working, supervisor.trouble()]));
  } finally {
    ended.abort();
    await supervisor.stop();
    await working.catch(() => {}); // What went wrong first has been thrown.
  }
};

/** Whoever asks this process to end asks the supervisor, which drains; this process then says how it ended. */
const passOnSignals = (supervisor: SupervisorProcess, ended = new AbortController()): void => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      ended.abort();
      void supervisor.stop();
    });
  }
};
