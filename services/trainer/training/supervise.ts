import { type ChildProcess, fork } from 'node:child_process';
import { trainingEnvironment } from '@understudy/graph/training-memory';
import { RetryableError, TerminalError } from '@understudy/service/errors';
import type { TrainingReport } from '@understudy/student';
import { CandidateError } from '../errors.ts';
import { MAX_SILENCE_MS, MAX_STDERR_CHARACTERS } from '../limits.ts';
import type { Fault, FromTraining, Job, Trained, Unlearnable } from './protocol.ts';

const PROCESS = new URL('./process.ts', import.meta.url);

export type Supervision = {
  /** Kills the process; what it has saved is gone on from the next time. */
  readonly signal: AbortSignal;
  readonly onStart: (pid: number | undefined) => void;
  readonly onProgress: (report: TrainingReport) => void;
  readonly onCheckpointRefused: (reason: string) => void;
  readonly onCacheLost: (reason: string) => void;
  readonly onUnlearnable: (unlearnable: Unlearnable) => void;
};

/**
 * Runs a training in a process of its own.
 * @throws TerminalError when the order can lead to no student
 * @throws CandidateError when this candidate cannot, or its process died or hung
 * @throws RetryableError when something else failed, which will pass
 * @throws the signal's reason when it aborts
 */
export async function trainInProcess(job: Job, supervision: Supervision): Promise<Trained> {
  const ending = await inProcess(job, supervision);
  if (ending.kind === 'trained') return ending.trained;
  throw new Error(`the training process said ${ending.kind}, a student was asked for`);
}

/** Looks for suspects in a process of its own; the blob digest of what was found. Throws as `trainInProcess` does. */
export async function findInProcess(job: Job, supervision: Supervision): Promise<string> {
  const ending = await inProcess(job, supervision);
  if (ending.kind === 'found') return ending.foldsDigest;
  throw new Error(`the training process said ${ending.kind}, suspects were asked for`);
}

type Ending = Extract<FromTraining, { kind: 'trained' | 'found' }>;

async function inProcess(job: Job, supervision: Supervision): Promise<Ending> {
  supervision.signal.throwIfAborted();
  const child = fork(PROCESS, [], {
    env: trainingEnvironment(process.env),
    execArgv: [],
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
  });
  const kill = () => void child.kill('SIGKILL');
  supervision.signal.addEventListener('abort', kill, { once: true });
  try {
    supervision.onStart(child.pid);
    return await outcomeOf(child, job, supervision);
  } catch (error) {
    supervision.signal.throwIfAborted();
    throw error;
  } finally {
    supervision.signal.removeEventListener('abort', kill);
    kill();
  }
}

/** Sends the job and listens until the process has ended. */
function outcomeOf(child: ChildProcess, job: Job, supervision: Supervision): Promise<Ending> {
  const { promise, resolve, reject } = Promise.withResolvers<Ending>();
  let lastWords = '';
  let ending: FromTraining | undefined;
  const silence = setTimeout(() => child.kill('SIGKILL'), MAX_SILENCE_MS);
  child.stderr?.on('data', (chunk) => {
    lastWords = (lastWords + chunk).slice(-MAX_STDERR_CHARACTERS);
  });
  child.on('message', (message) => {
    silence.refresh();
    const said = message as FromTraining;
    if (said.kind === 'progressed') supervision.onProgress(said.report);
    else if (said.kind === 'unlearnable') supervision.onUnlearnable(said.unlearnable);
    else if (said.kind === 'cache-lost') supervision.onCacheLost(said.reason);
    else if (said.kind === 'checkpoint-refused') supervision.onCheckpointRefused(said.reason);
    else ending = said;
  });
  child.once('error', (cause) => reject(new RetryableError('the training process cannot be started', { cause })));
  child.once('close', (code, signal) => {
    clearTimeout(silence);
    if (ending?.kind === 'trained' || ending?.kind === 'found') resolve(ending);
    else reject(ending?.kind === 'failed' ? failure(ending) : crash(code, signal, lastWords));
  });
  child.send(job, (error) => error && child.kill('SIGKILL'));
  return promise;
}

function failure({ fault, message }: { fault: Fault; message: string }): Error {
  if (fault === 'order') return new TerminalError(message);
  if (fault === 'passing') return new RetryableError(message);
  return new CandidateError(message, { crashed: fault === 'crash' });
}

function crash(code: number | null, signal: NodeJS.Signals | null, lastWords: string): CandidateError {
  const how = signal ? `was ended by ${signal}` : `ended with code ${code}`;
  const last = lastWords.trim() === '' ? '' : `; it wrote: ${lastWords.trim()}`;
  return new CandidateError(`the training process ${how} before it was done${last}`, { crashed: true });
}
