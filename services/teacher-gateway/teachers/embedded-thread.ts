import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { FromThread, HeadTask, ToThread } from './embedded-worker.ts';

export interface ThreadAnswer {
  /** Of each label, in order. */
  readonly probabilities: readonly number[];
  readonly tokens: number;
}

interface Waiting {
  resolve(answer: ThreadAnswer): void;
  reject(reason: unknown): void;
}

/** The thread that encodes and classifies, seen from the service's side. */
export class EmbeddedThread {
  /** Digest of everything that shapes an answer except the examples. */
  readonly version: string;
  /** Resolves with the reason when there will be no more answers. */
  readonly ended: Promise<Error>;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #asked = 0;
  #endedBy: Error | undefined;
  readonly #announceEnd: (reason: Error) => void;

  /** Loads the model and fits the head: under a second for some dozens of examples. @throws what the thread threw. */
  static async start(task: HeadTask): Promise<EmbeddedThread> {
    const worker = new Worker(new URL('./embedded-worker.ts', import.meta.url), { workerData: task });
    const [ready] = (await once(worker, 'message')) as [FromThread];
    if (ready.kind !== 'ready') throw new Error(`expected the thread to say that it is ready, got ${ready.kind}`);
    return new EmbeddedThread(worker, ready.version);
  }

  private constructor(worker: Worker, version: string) {
    this.version = version;
    this.#worker = worker;
    const { promise, resolve } = Promise.withResolvers<Error>();
    this.ended = promise;
    this.#announceEnd = resolve;
    worker.on('message', (message: FromThread) => this.#take(message));
    worker.on('error', (error) => this.#end(new Error('the encoder thread failed', { cause: error })));
    worker.on('exit', (code) => this.#end(new Error(`the encoder thread ended with code ${code}`)));
  }

  /** Rejects with the reason of `signal`, or with an Error when the thread has ended or ends before it answers. */
  ask(text: string, signal: AbortSignal): Promise<ThreadAnswer> {
    if (signal.aborted) return Promise.reject(signal.reason);
    if (this.#endedBy) return Promise.reject(this.#endedBy);
    const id = this.#asked++;
    const { promise, resolve, reject } = Promise.withResolvers<ThreadAnswer>();
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    this.#waiting.set(id, { resolve, reject });
    this.#worker.postMessage({ kind: 'ask', id, text } satisfies ToThread);
    return promise.finally(() => {
      signal.removeEventListener('abort', abort);
      this.#waiting.delete(id);
    });
  }

  /** Pending answers reject at once; the thread frees the model and ends. */
  async close(): Promise<void> {
    if (this.#endedBy) return;
    const exited = once(this.#worker, 'exit');
    this.#end(new Error('the encoder thread was closed'));
    this.#worker.postMessage({ kind: 'close' } satisfies ToThread);
    await exited;
  }

  #take(message: FromThread): void {
    // An answer that nobody waits for any more was aborted.
    if (message.kind === 'answer') this.#waiting.get(message.id)?.resolve(message);
  }

  #end(reason: Error): void {
    if (this.#endedBy) return;
    this.#endedBy = reason;
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#announceEnd(reason);
  }
}
