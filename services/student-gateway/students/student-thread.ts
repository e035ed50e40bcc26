import { Worker } from 'node:worker_threads';
import { messageOf } from '@understudy/service/errors';
import { studentLoadTimeoutMs } from '../limits.ts';
import type { FromThread, Predictions, StudentMaterial, ToThread } from './protocol.ts';

/** The student cannot be used: damaged, of another task, or of an unknown kind. Another thread would not help. */
export class StudentUnfitError extends Error {
  override readonly name = 'StudentUnfitError';
}

/** The thread ended. Another one may help. */
export class ThreadDiedError extends Error {
  override readonly name = 'ThreadDiedError';
}

/** A thread that holds one student after another. It is asked one thing at a time. */
export class StudentThread {
  /** Settles when the thread has ended, for whatever reason. */
  readonly gone: Promise<void>;
  readonly #worker: Worker;
  #answer: PromiseWithResolvers<FromThread> | undefined;
  #error: unknown;
  #ended: ThreadDiedError | undefined;

  constructor() {
    // The gateway's settings are none of a student's business.
    this.#worker = new Worker(new URL('./worker.ts', import.meta.url), { name: 'student', env: {} });
    this.#worker.on('message', (message: FromThread) => this.#settle((answer) => answer.resolve(message)));
    this.#worker.on('error', (error) => {
      this.#error = error;
    });
    this.gone = new Promise((resolve) => {
      this.#worker.once('exit', (code) => {
        const reason = this.#error === undefined ? `exit code ${code}` : messageOf(this.#error);
        const ended = new ThreadDiedError(`the student's thread died: ${reason}`, { cause: this.#error });
        this.#ended = ended;
        this.#settle((answer) => answer.reject(ended));
        resolve();
      });
    });
  }

  /**
   * Loads and warms a student; the thread must hold none.
   * @throws StudentUnfitError when the student is to blame, ThreadDiedError when the thread is (then it has ended)
   */
  async load(material: StudentMaterial): Promise<void> {
    const overdue = setTimeout(() => this.kill(), studentLoadTimeoutMs);
    try {
      const answer = await this.#ask({ kind: 'load', material });
      if (answer.kind === 'failed') throw new StudentUnfitError(answer.message);
    } finally {
      clearTimeout(overdue);
    }
  }

  /** @throws ThreadDiedError when the thread died over it, Error when the session refused it */
  async predict(texts: string[]): Promise<Predictions> {
    const answer = await this.#ask({ kind: 'predict', texts });
    if (answer.kind === 'predicted') return answer.predictions;
    throw new Error(answer.kind === 'failed' ? answer.message : 'expected predictions, came none');
  }

  /** Lets go of the student. @throws ThreadDiedError, Error */
  async unload(): Promise<void> {
    const answer = await this.#ask({ kind: 'unload' });
    if (answer.kind === 'failed') throw new Error(answer.message);
  }

  /** Ends the thread at once. */
  kill(): void {
    void this.#worker.terminate();
  }

  #ask(message: ToThread): Promise<FromThread> {
    if (this.#ended) return Promise.reject(this.#ended);
    this.#answer = Promise.withResolvers();
    this.#worker.postMessage(message);
    return this.#answer.promise;
  }

  #settle(how: (answer: PromiseWithResolvers<FromThread>) => void): void {
    const answer = this.#answer;
    this.#answer = undefined;
    if (answer) how(answer);
  }
}
