import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

/** What a thread is asked. */
export type ToThread =
  | { readonly kind: 'ask'; readonly id: number; readonly text: string }
  | { readonly kind: 'close' };

/** What a thread says: once whether it is ready or cannot work, then an answer to each question. */
export type FromThread =
  /** `version`: digest of everything that shapes an answer, and that is not in the task. */
  | { readonly kind: 'ready'; readonly version: string }
  /** What it was given cannot be used; trying again will not help. */
  | { readonly kind: 'refused'; readonly message: string }
  | ({ readonly kind: 'answer'; readonly id: number } & ThreadAnswer)
  /** This text could not be answered; others can. */
  | { readonly kind: 'failed'; readonly id: number; readonly message: string };

export interface ThreadAnswer {
  /** Of each label, in order. */
  readonly probabilities: readonly number[];
  readonly tokens: number;
}

/** The thread cannot work with what it was given. */
export class ModelRefused extends Error {
  override readonly name = 'ModelRefused';
}

/** The model failed on one text. */
export class TextFailed extends Error {
  override readonly name = 'TextFailed';
}

interface Waiting {
  resolve(answer: ThreadAnswer): void;
  reject(reason: unknown): void;
}

/** A thread that runs a model, seen from the service's side: inference would starve its heartbeats and acknowledgements. */
export class ModelThread {
  readonly version: string;
  /** Resolves with the reason when there will be no more answers. */
  readonly ended: Promise<Error>;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #asked = 0;
  #endedBy: Error | undefined;
  readonly #announceEnd: (reason: Error) => void;

  /**
   * Loads the model: under a second for a small one.
   * @param program a worker that speaks ToThread and FromThread
   * @throws ModelRefused, or what the thread threw
   */
  static async start(program: URL, given: unknown): Promise<ModelThread> {
    const worker = new Worker(program, { workerData: given });
    const [first] = (await once(worker, 'message')) as [FromThread];
    if (first.kind === 'refused') throw new ModelRefused(first.message);
    if (first.kind !== 'ready') throw new Error(`expected the thread to say that it is ready, got ${first.kind}`);
    return new ModelThread(worker, first.version);
  }

  private constructor(worker: Worker, version: string) {
    this.version = version;
    this.#worker = worker;
    const { promise, resolve } = Promise.withResolvers<Error>();
    this.ended = promise;
    this.#announceEnd = resolve;
    worker.on('message', (message: FromThread) => this.#take(message));
    worker.on('error', (error) => this.#end(new Error("the model's thread failed", { cause: error })));
    worker.on('exit', (code) => this.#end(new Error(`the model's thread ended with code ${code}`)));
  }

  /** Rejects with the reason of `signal`, with TextFailed, or with an Error when the thread has ended or ends before it answers. */
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
    this.#end(new Error("the model's thread was closed"));
    this.#worker.postMessage({ kind: 'close' } satisfies ToThread);
    await exited;
  }

  #take(message: FromThread): void {
    // An answer that nobody waits for any more was aborted.
    if (message.kind === 'answer') this.#waiting.get(message.id)?.resolve(message);
    if (message.kind === 'failed') this.#waiting.get(message.id)?.reject(new TextFailed(message.message));
  }

  #end(reason: Error): void {
    if (this.#endedBy) return;
    this.#endedBy = reason;
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#announceEnd(reason);
  }
}
