/** `batch`: asks a task's teacher through its provider's batch files. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import type { BatchMessage, BatchReport, BatchRequest } from '../batch-report.ts';
import { type Connection, connect, dataFolder, root } from '../connect.ts';
import { ExitError, exitCodes } from '../errors.ts';
import { taskFrom } from '../follow-run.ts';
import { count, dollars } from '../format.ts';
import { type Output, table } from '../output.ts';

export interface BatchOptions {
  out?: string;
  submit?: boolean;
  prompts?: number;
  perFile?: number;
}

/** Digits of a digest that tell the versions of a task apart. */
const shownDigits = 16;

/** Writes a task's prompts as batch files, or submits them and imports the answers; without either says what it would cost. */
export const batch = async (output: Output, taskOrFile: string, options: BatchOptions): Promise<void> => {
  using connection = connect();
  if (options.submit && options.out !== undefined) {
    throw new ExitError(
      exitCodes.badInput,
      'expected --out or --submit, got both: a file that is written is not submitted',
    );
  }
  const { task, digest } = await taskFrom(connection, taskOrFile);
  const request: BatchRequest = {
    task: task.name,
    taskDigest: digest,
    book: join(dataFolder(), 'batches', `${task.name}-${digest.slice(0, shownDigits)}.sqlite`),
    submit: options.submit ?? false,
    ...(options.out === undefined ? {} : { out: resolve(options.out) }),
    ...(options.prompts === undefined ? {} : { prompts: options.prompts }),
    ...(options.perFile === undefined ? {} : { perFile: options.perFile }),
  };
  const report = await reported(output, request, environmentFor(connection));
  output.answer({ task: task.name, digest, ...report }, () => linesOf(task.name, report));
};

/** Where the services are; the key is where the task says, in the environment of this command or in a file. */
const environmentFor = ({ run }: Connection): NodeJS.ProcessEnv => ({
  // As for the services of a platform on this machine: model servers beside it may be asked.
  ...(process.env.PROMPT_ADDRESS ? {} : { TEACHER_ALLOWED_ADDRESSES: 'loopback' }),
  ...process.env,
  PROMPT_ADDRESS: run.grpc.prompt,
  PAIR_STORE_ADDRESS: run.grpc['pair-store'],
  TEACHER_GATEWAY_ADDRESS: run.grpc['teacher-gateway'],
  RPC_TOKEN_FILE: run.rpcTokenFile,
  ID_KEY_FILE: run.idKeyFile,
});

/** A process of its own, because packages import no service, and the connector is the teacher gateway's. */
const reported = async (output: Output, request: BatchRequest, env: NodeJS.ProcessEnv): Promise<BatchReport> => {
  const program = join(root, 'services/teacher-gateway/batch/main.ts');
  const child = fork(program, [JSON.stringify(request)], { env, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  let [report, failed]: [BatchReport | undefined, string | undefined] = [undefined, undefined];
  child.on('message', (message: BatchMessage) => {
    if ('note' in message) output.note(message.note);
    else if ('failed' in message) failed = message.failed;
    else report = message.report;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (report && code === 0) return report;
  throw new ExitError(
    code ?? exitCodes.interrupted,
    failed ?? 'the batch was interrupted: the same command goes on with it',
  );
};

const dollarsOf = (usd: number): string => dollars(BigInt(Math.ceil(usd * 1e6)));

const linesOf = (task: string, report: BatchReport): string[] => {
  const { prompts, known, boundUsd, files, parts, outcomes, strays, spentUsd } = report;
  const alsoKnown = known > 0 ? `; ${count(known)} more are answered already` : '';
  const planned = `task ${task}: ${count(prompts)} prompts in ${count(parts.length)} files, at most ${dollarsOf(boundUsd)} at the task's prices${alsoKnown}`;
  const done = Object.entries(outcomes).sort(([, a], [, b]) => b - a);
  if (files.length > 0) return [planned, ...files.map((file) => `${file} written`)];
  if (done.length === 0) return [planned, ...(prompts > 0 ? ['--submit submits them, --out FILE writes them'] : [])];
  return [
    planned,
    ...table(parts.map((part) => [part.batchId ?? '', part.status ?? '', `${count(part.prompts)} prompts`])),
    ...done.map(([outcome, times]) => `${outcome}: ${count(times)}`),
    ...Object.entries(strays).map(([reason, times]) => `lines left out, ${reason}: ${count(times)}`),
    `at most ${dollarsOf(spentUsd)} spent at the task's prices; many providers charge less for batches`,
    `a run finds the answers and asks the rest: understudy run ${task}`,
  ];
};
