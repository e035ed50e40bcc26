/** `report`: what a finished run found, in the terminal or as one HTML page. */
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { Workload } from '@understudy/contract/pair-store';
import { RunStage, type RunState } from '@understudy/contract/prompt';
import { auditPolicyOf, isAuditable, parseTask, type Task } from '@understudy/task';
import { type Connection, connect } from '../connect.ts';
import { ExitError, exitCodes } from '../errors.ts';
import { findRun } from '../follow-run.ts';
import { between, verdictWords } from '../format.ts';
import { WATTS_PER_CORE } from '../html-report/costs.ts';
import { htmlReport } from '../html-report/page.ts';
import { type PageFacts, Shown } from '../html-report/shown.ts';
import type { Output } from '../output.ts';
import { printReport } from '../report.ts';

interface Options {
  html?: string;
  watts?: number;
  requestsPerDay?: number;
}

/** Prints the report of a run, or of the newest run of a task, or writes it as a page. */
export const report = async (output: Output, taskOrRun: string, options: Options): Promise<void> => {
  using connection = connect();
  const run = await findRun(connection, taskOrRun);
  if (run.stage !== RunStage.FINISHED) {
    throw new ExitError(
      exitCodes.badInput,
      `run ${run.runId} is not finished: understudy watch ${run.runId} follows it`,
    );
  }
  const { taskJson } = await connection.prompt.getTask({ task: run.task, taskDigest: run.taskDigest });
  const task = parseTask(taskJson);
  if (options.html === undefined) return await printReport(connection, run, task, output);
  const file = resolve(options.html);
  const page = htmlReport(await pageFacts(connection, run, task, options));
  await writeFile(file, page).catch((cause: Error) => {
    throw new ExitError(exitCodes.badInput, `--html ${file}: cannot be written: ${cause.message}`, { cause });
  });
  output.answer({ run: run.runId, file }, () => [`the report of run ${run.runId} is in ${file}`]);
};

const pageFacts = async (connection: Connection, run: RunState, task: Task, options: Options): Promise<PageFacts> => {
  const reportDigest = run.evaluation?.reportDigest ?? '';
  const answer = reportDigest === '' ? undefined : await connection.evaluator.getReport({ reportDigest });
  const { runs } = await connection.prompt.listRuns({ task: run.task });
  const before = runs.filter((other) => startedMs(other) < startedMs(run));
  const audit = auditPolicyOf(task);
  return {
    task: run.task,
    runId: run.runId,
    reportDigest,
    verdict: verdictWords(run.verdict),
    reason: run.reason,
    finishedAt: run.finishedAt && new Date(timestampMs(run.finishedAt)),
    spentUsd: Number(run.spentMicroUsd) / 1e6,
    spentBeforeUsd: before.reduce((sum, other) => sum + Number(other.spentMicroUsd), 0) / 1e6,
    teacherCalls: run.teacherCalls,
    trainingMs: trainingMs(run),
    audit: { ...audit, share: isAuditable(task) ? audit.share : 0 },
    traffic: await trafficOf(connection, task, options),
    wattsPerCore: options.watts ?? WATTS_PER_CORE,
    report: answer && Shown.parse(JSON.parse(answer.reportJson)),
  };
};

/** Over all batches; 0 where it did not come to one. */
const trainingMs = ({ stages, finishedAt }: RunState): number =>
  stages.reduce((sum, { stage, at }, index) => {
    if (stage !== RunStage.TRAINING || !at) return sum;
    return sum + between(at, stages[index + 1]?.at ?? finishedAt);
  }, 0);

const startedMs = ({ startedAt }: RunState): number => (startedAt ? timestampMs(startedAt) : 0);

/** What was said, or what was recorded of the workloads that are this task's. */
const trafficOf = async (
  { workloads }: Connection,
  { matchCalls }: Task,
  { requestsPerDay }: Options,
): Promise<PageFacts['traffic']> => {
  if (requestsPerDay !== undefined) return { requestsPerDay, origin: 'as stated' };
  if (typeof matchCalls === 'boolean') return undefined;
  let perDay = 0;
  for (const workloadId of matchCalls) {
    for await (const { workload } of workloads.listWorkloads({ idPrefix: workloadId })) {
      if (workload) perDay += callsPerDay(workload);
    }
  }
  return perDay > 0 ? { requestsPerDay: perDay, origin: 'as recorded of its workloads' } : undefined;
};

const leastDays = 1;

/** Over less than a day nothing is said about a day but what has come. */
const callsPerDay = ({ calls, firstAt, lastAt }: Workload): number => {
  const days = firstAt && lastAt ? between(firstAt, lastAt) / 86_400_000 : 0;
  return Number(calls) / Math.max(leastDays, days);
};
