import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '@understudy/service/errors';
import type { Logger } from '@understudy/service/telemetry';
import { RequestError } from '../errors.ts';
import {
  maxBatchTexts,
  maxQueuedTexts,
  overloadRetryAfterMs,
  threadRestartFirstMs,
  threadRestartMaxMs,
} from '../limits.ts';
import type { Predictions, StudentMaterial } from './protocol.ts';
import { type StudentThread, ThreadDiedError } from './student-thread.ts';
import type { Threads } from './threads.ts';

/** What the student says about one text. */
export interface Prediction {
  /** Canonical JSON; undefined where only the teacher can answer. */
  answerJson: string | undefined;
  /** In the whole answer, 0..1. */
  confidence: number;
  /** True where the policy lets the student answer. */
  sure: boolean;
  /** Tokens that the student read. */
  tokens: number;
}

/** The student gave no prediction, twice; whoever else can answer should. */
export class StudentUnavailableError extends Error {
  override readonly name = 'StudentUnavailableError';
}

interface Waiting {
  text: string;
  resolve: (prediction: Prediction) => void;
  reject: (error: Error) => void;
  /** It was in a batch that failed: it gets a second chance, alone, so that a text that kills its batch kills no other. */
  retried: boolean;
}

export interface SessionOptions {
  log: Logger;
  onRestart?: () => void;
  threads: Threads;
}

/**
 * A loaded student that answers many requests at once. Requests are queued; whenever the thread is free it takes
 * what has gathered, so that batches grow with the load and an idle student answers at once. A thread that dies is
 * started again and the requests it held are tried once more.
 */
export class StudentSession {
  readonly #material: StudentMaterial;
  readonly #options: SessionOptions;
  #queue: Waiting[] = [];
  #thread: StudentThread | undefined;
  #busy = false;
  #scheduled = false;
  /** Set while there is no thread and the last start failed, and once closed: nobody is kept waiting then. */
  #down: Error | undefined;
  #retired: PromiseWithResolvers<void> | undefined;
  readonly #retiring = new AbortController();

  private constructor(thread: StudentThread, material: StudentMaterial, options: SessionOptions) {
    this.#material = material;
    this.#options = options;
    this.#adopt(thread);
  }

  /** Loads and warms a student. @throws StudentUnfitError, ThreadDiedError */
  static async open(material: StudentMaterial, options: SessionOptions): Promise<StudentSession> {
    return new StudentSession(await options.threads.start(material), material, options);
  }

  /** Requests that wait for their batch. */
  get depth(): number {
    return this.#queue.length;
  }

  /**
   * Predicts one rendered text.
   * @throws RequestError (overloaded) at once when the queue is full; StudentUnavailableError when the student failed
   */
  predict(text: string): Promise<Prediction> {
    if (this.#down) return Promise.reject(this.#down);
    if (this.#queue.length >= maxQueuedTexts) {
      const message = `${maxQueuedTexts} requests already wait for this student; try again later`;
      return Promise.reject(new RequestError('overloaded', message, { retryAfterMs: overloadRetryAfterMs }));
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ text, resolve, reject, retried: false });
      this.#schedule();
    });
  }

  /** Answers what is queued, then lets go of the thread. No request may come afterwards. */
  retire(): Promise<void> {
    this.#retired ??= Promise.withResolvers();
    this.#retiring.abort();
    this.#schedule();
    return this.#retired.promise;
  }

  /** One turn of the event loop lets all sockets that are readable now put their requests into the same batch. */
  #schedule(): void {
    if (this.#scheduled || this.#busy || !this.#thread) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (this.#thread) void this.#work(this.#thread);
    });
  }

  async #work(thread: StudentThread): Promise<void> {
    if (this.#queue.length === 0) {
      if (this.#retired) await this.#close(this.#retired);
      return;
    }
    this.#busy = true;
    await this.#predictBatch(thread, this.#queue.splice(0, this.#queue[0]?.retried ? 1 : maxBatchTexts));
    this.#busy = false;
    this.#schedule();
  }

  async #predictBatch(thread: StudentThread, batch: Waiting[]): Promise<void> {
    try {
      settle(batch, await thread.predict(batch.map(({ text }) => text)));
    } catch (error) {
      this.#options.log.error({ error: messageOf(error), texts: batch.length }, 'a batch failed');
      if (error instanceof ThreadDiedError) this.#lost(thread);
      const again = batch.filter(({ retried }) => !retried);
      for (const item of batch) {
        if (item.retried) item.reject(new StudentUnavailableError(messageOf(error), { cause: error }));
        item.retried = true;
      }
      this.#queue = [...again, ...this.#queue];
    }
  }

  #adopt(thread: StudentThread): void {
    this.#thread = thread;
    this.#down = undefined;
    void thread.gone.then(() => this.#lost(thread));
    this.#schedule();
  }

  #lost(thread: StudentThread): void {
    if (this.#thread !== thread) return;
    this.#thread = undefined;
    void this.#restart();
  }

  /** Tries until a thread is up or the session is retired; nobody is kept waiting past a failed start. */
  async #restart(): Promise<void> {
    for (let pauseMs = threadRestartFirstMs; ; pauseMs = Math.min(pauseMs * 2, threadRestartMaxMs)) {
      try {
        this.#options.onRestart?.();
        const thread = await this.#options.threads.start(this.#material);
        this.#options.log.warn('the student has a new thread');
        return this.#adopt(thread);
      } catch (error) {
        this.#options.log.error({ error: messageOf(error), pauseMs }, 'the student has no thread');
        this.#down = new StudentUnavailableError('the student cannot be started', { cause: error });
        for (const item of this.#queue.splice(0)) item.reject(this.#down);
      }
      if (this.#retired) return this.#retired.resolve();
      await delay(pauseMs, undefined, { signal: this.#retiring.signal }).catch(() => {}); // retiring ends the pause
    }
  }

  async #close(retired: PromiseWithResolvers<void>): Promise<void> {
    const thread = this.#thread;
    this.#thread = undefined;
    this.#down = new StudentUnavailableError('the student was let go');
    if (thread) await this.#options.threads.release(thread);
    retired.resolve();
  }
}

const settle = (batch: readonly Waiting[], { answers, confidences, sure, tokens }: Predictions): void => {
  batch.forEach(({ resolve }, index) => {
    resolve({
      answerJson: answers[index],
      confidence: confidences[index]!,
      sure: sure[index] === 1,
      tokens: tokens[index]!,
    });
  });
};
