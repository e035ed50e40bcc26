import { ModelRefused, ModelThread, TextFailed } from './model-thread.ts';
import { mostProbable, type SingleEnum, singleEnumOf } from './single-enum.ts';
import {
  type CostBound,
  type Teacher,
  TeacherError,
  type TeacherReply,
  type TeacherRequest,
  type TeacherTask,
} from './teacher.ts';

/** What sets one local model apart from another. */
export interface LocalModel {
  readonly kind: Teacher['kind'];
  readonly model: string;
  readonly maxConcurrency: number;
  /** A worker that speaks the messages of `model-thread.ts`. */
  readonly program: URL;
}

/** A classifier in a thread of this process, which gives a probability for each label and costs nothing. It answers the most probable one. */
export class LocalTeacher implements Teacher {
  readonly kind: Teacher['kind'];
  readonly model: string;
  readonly maxConcurrency: number;
  readonly #program: URL;
  readonly #given: unknown;
  readonly #name: string;
  readonly #single: SingleEnum;
  #thread: Promise<ModelThread> | undefined;
  #closed = false;

  /**
   * @param given what the thread is started with, of the task's labels
   * @throws TeacherError (`rejected`) when the task is none for a classifier
   */
  constructor(local: LocalModel, task: TeacherTask, given: (single: SingleEnum) => unknown) {
    this.kind = local.kind;
    this.model = local.model;
    this.maxConcurrency = local.maxConcurrency;
    this.#program = local.program;
    this.#name = `the ${local.kind} teacher of task ${task.name}`;
    this.#single = singleEnumOf(task, local.kind);
    this.#given = given(this.#single);
  }

  /** @throws TeacherError (`rejected`) when the model cannot be used for the task; (`overloaded`) when it cannot be started now */
  async start(): Promise<this> {
    await this.#running();
    return this;
  }

  costBound(): CostBound {
    return { usd: 0, tokens: 0 };
  }

  async answer(request: TeacherRequest, signal: AbortSignal): Promise<TeacherReply> {
    signal.throwIfAborted();
    const startedAt = performance.now();
    const thread = await this.#running();
    try {
      const { probabilities, tokens } = await thread.ask(request.text, signal);
      return {
        ...mostProbable(this.#single, probabilities),
        model: this.model,
        version: thread.version,
        usage: { inputTokens: tokens, outputTokens: 0, spentUsd: 0, durationMs: performance.now() - startedAt },
      };
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw this.#failure(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    const thread = await this.#thread?.catch(() => undefined);
    await thread?.close();
  }

  /** The thread, started again after it died: what it computes depends on the task alone. */
  async #running(): Promise<ModelThread> {
    if (this.#closed) throw this.#failure(undefined);
    this.#thread ??= this.#starting();
    try {
      return await this.#thread;
    } catch (error) {
      throw this.#failure(error);
    }
  }

  #starting(): Promise<ModelThread> {
    const starting = ModelThread.start(this.#program, this.#given);
    const forget = () => {
      this.#thread = undefined;
    };
    starting.then((thread) => thread.ended.then(forget), forget);
    return starting;
  }

  #failure(cause: unknown): TeacherError {
    if (this.#closed) return new TeacherError('closed', `${this.#name} was closed`, { cause });
    if (cause instanceof ModelRefused)
      return new TeacherError('rejected', `${this.#name}: ${cause.message}`, { cause });
    if (cause instanceof TextFailed) {
      return new TeacherError('rejected', `${this.#name} cannot answer this text: ${cause.message}`, { cause });
    }
    return new TeacherError('overloaded', `${this.#name} has no running model`, { cause });
  }
}
