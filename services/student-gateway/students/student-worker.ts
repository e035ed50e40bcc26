import { Worker } from 'node:worker_threads';
import { messageOf } from '@understudy/service/errors';
import { studentLoadTimeoutMs } from '../limits.ts';
import type { FromWorker, Predictions, StudentMaterial, ToWorker } from './protocol.ts';

/** The student cannot be used: damaged, of another task, or of an unknown kind. Starting it again would not help. */
export class StudentUnfitError extends Error {
  override readonly name = 'StudentUnfitError';
}

/** The thread ended, or never came up. Starting it again may help. */
export class WorkerDiedError extends Error {
  override readonly name = 'WorkerDiedError';
}

/** One life of a student's worker thread: it answers one batch at a time until it is closed or dies. */
export class StudentWorker {
  /** Settles when the thread has ended, for whatever reason. */
  readonly gone: Promise<void>;
  readonly #worker: Worker;
  #answer: PromiseWithResolvers<FromWorker> | undefined;
  #reason: unknown;
  #ended: WorkerDiedError | undefined;

  private constructor(material: StudentMaterial) {
    this.#worker = new Worker(new URL('./worker.ts', import.meta.url), {
      workerData: material,
      name: 'student',
      // The gateway's secrets are none of a student's business.
      env: {},
    });
    this.#worker.on('message', (message: FromWorker) => this.#settle((answer) => answer.resolve(message)));
    this.#worker.on('error', (error) => {
      this.#reason = error;
    });
    this.gone = new Promise((resolve) => {
      this.#worker.once('exit', (code) => {
        const reason = this.#reason === undefined ? `exit code ${code}` : messageOf(this.#reason);
        const ended = new WorkerDiedError(`the student's thread died: ${reason}`, { cause: this.#reason });
        this.#ended = ended;
        this.#settle((answer) => answer.reject(ended));
        resolve();
      });
    });
  }

  /**
   * Loads and warms a student on a new thread.
   * @throws StudentUnfitError when the student itself is to blame, WorkerDiedError when the thread is
   */
  static async start(material: StudentMaterial): Promise<StudentWorker> {
    const worker = new StudentWorker(material);
    const overdue = setTimeout(() => worker.kill(), studentLoadTimeoutMs);
    try {
      const first = await worker.#nextAnswer();
      if (first.kind === 'ready') return worker;
      throw new StudentUnfitError(first.kind === 'unfit' ? first.message : `unexpected first word: ${first.kind}`);
    } finally {
      clearTimeout(overdue);
    }
  }

  /**
   * Predicts one batch; the one before must have been answered.
   * @throws WorkerDiedError when the thread died over it, Error when the session refused it
   */
  async predict(texts: string[]): Promise<Predictions> {
    if (this.#ended) throw this.#ended;
    const answer = this.#nextAnswer();
    this.#send({ kind: 'predict', texts });
    const message = await answer;
    if (message.kind === 'predicted') return message.predictions;
    throw new Error(message.kind === 'failed' ? message.message : `unexpected answer: ${message.kind}`);
  }

  /** Releases the session and lets the thread end by itself. */
  async close(): Promise<void> {
    this.#send({ kind: 'close' });
    await this.gone;
  }

  /** Ends the thread at once. */
  kill(): void {
    void this.#worker.terminate();
  }

  #send(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #nextAnswer(): Promise<FromWorker> {
    this.#answer = Promise.withResolvers();
    return this.#answer.promise;
  }

  #settle(how: (answer: PromiseWithResolvers<FromWorker>) => void): void {
    const answer = this.#answer;
    this.#answer = undefined;
    if (answer) how(answer);
  }
}
