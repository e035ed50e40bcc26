/** `workloads` and `adopt`: what passes through the gateway, and tasks made of it. */
import { createWriteStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { toJson } from '@bufbuild/protobuf';
import { type Workload, type WorkloadPair, WorkloadSchema } from '@understudy/contract/pair-store';
import { loadTask } from '@understudy/task';
import { stringify } from 'yaml';
import { type Connection, connect } from '../connect.ts';
import { ExitError, exitCodes } from '../errors.ts';
import { applyTask } from '../follow-run.ts';
import { count, dollars, moment, oneLine } from '../format.ts';
import { type Output, table } from '../output.ts';
import { draftOf, logLines } from '../workloads/draft.ts';
import { type Verdict, verdictOf } from '../workloads/verdict.ts';

/** Digits of an id that tell a thousand workloads apart. */
const shownDigits = 12;

/** Lists what was recorded of calls that passed through, the most called first. */
export const listWorkloads = async (output: Output): Promise<void> => {
  using connection = connect();
  const workloads = await found(connection, '');
  const judged = workloads.map((workload) => ({ workload, verdict: verdictOf(workload) }));
  output.answer({ workloads: judged.map(jsonOf) }, () =>
    judged.length === 0
      ? ['no calls are recorded: set UPSTREAM_BASE_URL and RECORD_CALLS=1 for the student-gateway, and send it calls']
      : [...table([titles, ...judged.map(rowOf)]), '', ...judged.flatMap(wordsOf)],
  );
};

interface Judged {
  workload: Workload;
  verdict: Verdict;
}

const titles = ['WORKLOAD', 'MODEL', 'CALLS', 'FAILED', 'SPENT', 'INPUTS', 'OUTPUTS', 'COULD SAVE', 'LAST SEEN'];

const rowOf = ({ workload, verdict }: Judged): string[] => [
  workload.workloadId.slice(0, shownDigits),
  oneLine(workload.model),
  count(Number(workload.calls)),
  count(Number(workload.failed)),
  dollars(workload.spentMicroUsd),
  count(Number(workload.distinctInputs)),
  count(Number(workload.distinctOutputs)),
  verdict.distillable ? dollars(verdict.savesMicroUsd) : '–',
  moment(workload.lastAt),
];

const wordsOf = ({ workload, verdict }: Judged): string[] => [
  `${workload.workloadId.slice(0, shownDigits)}  ${oneLine(workload.system ?? 'prompt unknown')}`,
  `  ${verdict.distillable ? 'a student could answer it' : 'no student can answer it as it is'}`,
  ...verdict.reasons.map((reason) => `  - ${reason}`),
];

const jsonOf = ({ workload, verdict }: Judged): object => ({
  ...(toJson(WorkloadSchema, workload) as object),
  distillable: verdict.distillable,
  reasons: verdict.reasons,
  savesMicroUsd: String(verdict.savesMicroUsd),
});

interface AdoptOptions {
  name?: string;
  out: string;
  apiKeyEnv?: string;
}

/** Makes a task file and a log of pairs of a workload, and gives the task to the platform. */
export const adopt = async (output: Output, idPrefix: string, options: AdoptOptions): Promise<void> => {
  using connection = connect();
  const workload = await theOne(connection, idPrefix);
  const { distillable, reasons } = verdictOf(workload);
  if (workload.system === undefined || !workload.schemaJson) throw unfit(workload, reasons);
  const pairs = await pairsOf(connection, workload);
  if (pairs.length === 0) throw unfit(workload, ['no pair of it is recorded']);
  const files = await writeFiles(workload, pairs, options);
  output.note(`${files.task} and ${files.log} written`);
  if (!distillable) {
    const advice = `change ${files.task} accordingly, then: understudy apply ${files.task}`;
    throw new ExitError(exitCodes.badInput, [...unfitWords(workload, reasons), advice].join('\n'));
  }
  const task = await loadTask(files.task);
  const { digest } = await applyTask(connection, task);
  output.answer({ task: task.name, digest, files, pairs: pairs.length }, () => [
    `task ${task.name} applied with ${count(pairs.length)} recorded pairs`,
    ...(task.live.audit
      ? [`a student's answers will be checked for up to $${task.live.audit.usdPerDay} a day (live.audit)`]
      : []),
    `once a student of it is promoted, the same calls are answered by it: understudy run ${task.name}`,
  ]);
};

const writeFiles = async (
  workload: Workload,
  pairs: readonly WorkloadPair[],
  { name, out, apiKeyEnv }: AdoptOptions,
) => {
  const folder = resolve(out);
  const called = name ?? `w-${workload.workloadId.slice(0, shownDigits)}`;
  const [task, log] = [join(folder, `${called}.yaml`), join(folder, `${called}.log.jsonl`)];
  const draft = draftOf(workload, pairs, { name: called, logPath: `./${called}.log.jsonl`, apiKeyEnv });
  await mkdir(folder, { recursive: true });
  try {
    // Neither file may be there: both are a person's to edit.
    await writeFile(task, stringify(draft), { flag: 'wx' });
    await pipeline(Readable.from(logLines(workload, pairs)), createWriteStream(log, { flags: 'wx', mode: 0o600 }));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    const message = `${(error as NodeJS.ErrnoException).path} is there already: give another --name or --out, or remove it`;
    throw new ExitError(exitCodes.badInput, message, { cause: error });
  }
  return { task, log };
};

const found = async ({ workloads }: Connection, idPrefix: string): Promise<Workload[]> => {
  const all: Workload[] = [];
  for await (const { workload } of workloads.listWorkloads({ idPrefix })) if (workload) all.push(workload);
  return all;
};

const theOne = async (connection: Connection, idPrefix: string): Promise<Workload> => {
  const [workload, ...others] = await found(connection, idPrefix);
  if (workload && others.length === 0) return workload;
  const came = workload ? `${others.length + 1} begin so` : 'none begins so';
  throw new ExitError(
    exitCodes.badInput,
    `workload ${JSON.stringify(idPrefix)}: expected the id of one, as understudy workloads shows it; ${came}`,
  );
};

const pairsOf = async ({ workloads }: Connection, { workloadId }: Workload): Promise<WorkloadPair[]> => {
  const pairs: WorkloadPair[] = [];
  for await (const part of workloads.streamWorkloadPairs({ workloadId })) pairs.push(...part.pairs);
  return pairs;
};

const unfitWords = ({ workloadId }: Workload, reasons: readonly string[]): string[] => [
  `workload ${workloadId.slice(0, shownDigits)} cannot be a task as it is:`,
  ...reasons.map((reason) => `- ${reason}`),
];

const unfit = (workload: Workload, reasons: readonly string[]): ExitError =>
  new ExitError(exitCodes.badInput, unfitWords(workload, reasons).join('\n'));
