// One process under supervision: started, watched until it is ready, started again when it dies, stopped in order.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readSync, renameSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SupervisorEvent } from '@understudy/cli/platform';
import { StartupError } from '@understudy/service/errors';
import { startOf } from './lock.mjs';

export interface ChildSpec {
  name: string;
  program: string;
  args: readonly string[];
  env: NodeJS.ProcessEnv;
  logFile: string;
  isReady(): Promise<boolean>;
  /** From its start until it is killed where it does not become ready. */
  readyWithinMs: number;
  /** From being asked to stop until it is killed. */
  stopWithinMs: number;
}

/** Readiness is asked this often. */
const readyPollMs = 50;
/** A process that dies is started again after this, then after twice as long, and so on. */
const firstRestartMs = 200;
const maxRestartMs = 5_000;
/** Deaths in a row before the whole platform is given up: about half a minute of trying; less for what never worked. */
const maxDeaths = 10;
const maxDeathsBeforeReady = 3;
/** A process that was ready and lived this long died of something new. */
const healthyAfterMs = 60_000;
/** A log larger than this is set aside when its process starts. */
const maxLogBytes = 64 * 1024 ** 2;
const tailLines = 6;
const tailBytes = 4_096;
/** Configuration or surroundings are not fit: trying again cannot help. */
const unfitExitCode = 2;

/** How long a start may take: the slowest, a new database on a machine that does much else, takes a minute and more. */
export const readyWithinMs = 180_000;

interface Death {
  how: string;
  /** What the process wrote last. */
  words: string;
  unfit: boolean;
  wasReady: boolean;
}

export class Child {
  readonly spec: ChildSpec;
  readonly #report: (event: SupervisorEvent) => void;
  readonly #changed: () => void;
  readonly #ready = Promise.withResolvers<void>();
  readonly #failed = Promise.withResolvers<never>();
  readonly #stopping = new AbortController();
  #process: ChildProcess | undefined;
  #life: Promise<void> = Promise.resolve();
  #everReady = false;

  /** @param changed called when another process took the place of the one before */
  constructor(spec: ChildSpec, report: (event: SupervisorEvent) => void, changed: () => void) {
    this.spec = spec;
    this.#report = report;
    this.#changed = changed;
    this.#failed.promise.catch(() => {});
  }

  /** Rejects when the process cannot be kept alive. */
  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  /** Who runs now. */
  get identity(): { name: string; pid: number; started: string } | undefined {
    const pid = this.#process?.pid;
    const started = pid === undefined ? undefined : startOf(pid);
    return pid === undefined || started === undefined ? undefined : { name: this.spec.name, pid, started };
  }

  /** Resolves when it is ready for the first time. */
  start(): Promise<void> {
    this.#report({ event: 'starting', name: this.spec.name });
    this.#life = this.#live();
    return Promise.race([this.#ready.promise, this.failed]);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    const child = this.#process;
    child?.kill('SIGTERM');
    const kill = setTimeout(() => child?.kill('SIGKILL'), this.spec.stopWithinMs);
    await this.#life;
    clearTimeout(kill);
  }

  async #live(): Promise<void> {
    for (let deaths = 0; !this.#stopping.signal.aborted; ) {
      const startedMs = performance.now();
      const death = await this.#once(startedMs);
      if (this.#stopping.signal.aborted) return;
      deaths = death.wasReady && performance.now() - startedMs > healthyAfterMs ? 1 : deaths + 1;
      const hopeless = this.#everReady ? deaths > maxDeaths : death.unfit || deaths > maxDeathsBeforeReady;
      if (hopeless) {
        this.#failed.reject(new StartupError(`${this.spec.name} ${death.how}${death.words}`));
        return;
      }
      const afterMs = Math.min(firstRestartMs * 2 ** (deaths - 1), maxRestartMs);
      this.#report({ event: 'restarting', name: this.spec.name, reason: death.how, afterMs });
      await sleep(afterMs, undefined, { signal: this.#stopping.signal }).catch(() => {});
    }
  }

  /** One life of the process, from its start to its end. */
  async #once(startedMs: number): Promise<Death> {
    const { program, args, env, logFile } = this.spec;
    setAsideLargeLog(logFile);
    const log = openSync(logFile, 'a', 0o600);
    const logStart = statSync(logFile).size;
    // A process group of its own: Ctrl-C at the terminal reaches the supervisor alone, which stops all in order. The
    // pipe on standard input ends when the supervisor dies, however it dies.
    const child = spawn(program, args, { env, stdio: ['pipe', log, log], detached: true });
    closeSync(log);
    this.#process = child;
    this.#changed();
    const gone = once(child, 'exit').then(
      ([code, signal]) => ({
        code: code as number | null,
        how: signal ? `was ended by ${signal}` : `ended with exit code ${code}`,
      }),
      (error: Error) => ({ code: unfitExitCode, how: `cannot be started: ${error.message}` }),
    );
    const ended = new AbortController();
    const becomingReady = this.#becomeReady(child, startedMs, ended.signal);
    const { code, how } = await gone;
    ended.abort();
    const readiness = await becomingReady;
    this.#process = undefined;
    return {
      how: readiness === 'too-late' ? `was not ready within ${this.spec.readyWithinMs / 1_000} s and was ended` : how,
      words: tailOf(logFile, logStart),
      unfit: code === unfitExitCode,
      wasReady: readiness === 'ready',
    };
  }

  async #becomeReady(
    child: ChildProcess,
    startedMs: number,
    ended: AbortSignal,
  ): Promise<'ready' | 'too-late' | 'ended'> {
    while (!ended.aborted && !this.#stopping.signal.aborted) {
      if (await this.spec.isReady()) {
        this.#everReady = true;
        this.#report({ event: 'ready', name: this.spec.name, tookMs: Math.round(performance.now() - startedMs) });
        this.#ready.resolve();
        return 'ready';
      }
      if (performance.now() - startedMs > this.spec.readyWithinMs) {
        child.kill('SIGKILL');
        return 'too-late';
      }
      await sleep(readyPollMs, undefined, { signal: ended }).catch(() => {});
    }
    return 'ended';
  }
}

const setAsideLargeLog = (file: string): void => {
  if (existsSync(file) && statSync(file).size > maxLogBytes) renameSync(file, `${file}.1`);
};

/** The last lines that the process wrote, for the message. */
const tailOf = (file: string, start: number): string => {
  const written = readBytes(file, Math.max(start, statSync(file).size - tailBytes))
    .toString('utf8')
    .trim();
  if (written === '') return ` (${file} says nothing)`;
  const lines = written.split('\n').slice(-tailLines);
  return `; the end of ${file}:\n${lines.map((line) => `  ${line}`).join('\n')}`;
};

const readBytes = (file: string, from: number): Buffer => {
  const descriptor = openSync(file, 'r');
  try {
    const buffer = Buffer.alloc(tailBytes);
    return buffer.subarray(0, readSync(descriptor, buffer, 0, tailBytes, from));
  } finally {
    closeSync(descriptor);
  }
};
