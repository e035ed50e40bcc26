/** The local supervisor as a child of the command line. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { root } from './connect.ts';
import { ExitError, exitCodes } from './errors.ts';
import type { Output } from './output.ts';
import { lineOf, type SupervisorEvent } from './platform.ts';

/** A platform that this command started and stops at its end. */
export class SupervisorProcess {
  readonly #child: ChildProcess;
  readonly #serving = Promise.withResolvers<string>();
  readonly #ended: Promise<number>;
  #failure: string | undefined;

  constructor(output: Output) {
    this.#child = fork(join(root, 'deploy/local/supervisor.ts'), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child.on('message', (event: SupervisorEvent) => {
      if (event.event === 'serving') this.#serving.resolve(event.httpUrl);
      if (event.event === 'failed') this.#failure = event.reason;
      else output.note(lineOf(event));
    });
    this.#ended = once(this.#child, 'exit').then(([code]) => code ?? exitCodes.failed);
  }

  /** The URL for clients, once every service is ready. @throws ExitError with the reason when it does not come so far */
  serving(): Promise<string> {
    return Promise.race([this.#serving.promise, this.trouble()]);
  }

  /** Rejects with the reason when the platform ends. */
  async trouble(): Promise<never> {
    const code = await this.#ended;
    if (this.#failure) throw new ExitError(code, this.#failure);
    throw new ExitError(code === 0 ? exitCodes.interrupted : code, 'the platform was stopped');
  }

  /** Resolves with the exit code when all is drained. */
  async stop(): Promise<number> {
    this.#child.kill('SIGTERM');
    return await this.#ended;
  }

  /** Until somebody stops it. @throws ExitError with the reason when it fails */
  async untilStopped(): Promise<void> {
    const code = await this.#ended;
    if (this.#failure) throw new ExitError(code, this.#failure);
  }
}
