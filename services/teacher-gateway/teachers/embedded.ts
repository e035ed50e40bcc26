import { EmbeddedThread } from './embedded-thread.ts';
import type { HeadTask } from './embedded-worker.ts';
import { mostProbable, type SingleEnum, singleEnumOf } from './single-enum.ts';
import {
  type CostBound,
  type Teacher,
  TeacherError,
  type TeacherReply,
  type TeacherRequest,
  type TeacherTask,
} from './teacher.ts';

/** As task files name it. */
export const EMBEDDED_MODEL = 'universal-sentence-encoder-lite';

/** One text is encoded at a time; with one more waiting the thread never idles, and what waits longer would only look slow. */
const MAX_CONCURRENCY = 2;

/**
 * The teacher that needs no key and no network: a sentence encoder with a head fitted to the task's examples, which gives a
 * probability for each label. It answers the most probable one, the first of equals.
 * @throws TeacherError (`rejected`) when the examples cannot teach: none, a label without one, a label that the task does
 *   not have; (`overloaded`) when the encoder cannot be started
 */
export async function createEmbeddedTeacher(task: TeacherTask): Promise<Teacher> {
  const teacher = new EmbeddedTeacher(task);
  await teacher.start();
  return teacher;
}

class EmbeddedTeacher implements Teacher {
  readonly kind = 'embedded';
  readonly model = EMBEDDED_MODEL;
  readonly maxConcurrency = MAX_CONCURRENCY;
  readonly #task: TeacherTask;
  readonly #single: SingleEnum;
  readonly #headTask: HeadTask;
  #thread: Promise<EmbeddedThread> | undefined;
  #closed = false;

  constructor(task: TeacherTask) {
    this.#task = task;
    this.#single = singleEnumOf(task, this.kind);
    this.#headTask = headTask(task, this.#single);
  }

  async start(): Promise<void> {
    await this.#running();
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
      return this.#reply(probabilities, {
        version: thread.version,
        inputTokens: tokens,
        durationMs: performance.now() - startedAt,
      });
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

  #reply(
    probabilities: readonly number[],
    call: { version: string; inputTokens: number; durationMs: number },
  ): TeacherReply {
    return {
      ...mostProbable(this.#single, probabilities),
      model: EMBEDDED_MODEL,
      version: call.version,
      usage: { inputTokens: call.inputTokens, outputTokens: 0, spentUsd: 0, durationMs: call.durationMs },
    };
  }

  /** The thread, started again after it died: what it computes depends on the task alone. */
  async #running(): Promise<EmbeddedThread> {
    if (this.#closed) throw this.#failure(undefined);
    this.#thread ??= this.#starting();
    try {
      return await this.#thread;
    } catch (error) {
      throw this.#failure(error);
    }
  }

  #starting(): Promise<EmbeddedThread> {
    const starting = EmbeddedThread.start(this.#headTask);
    const forget = () => {
      this.#thread = undefined;
    };
    starting.then((thread) => thread.ended.then(forget), forget);
    return starting;
  }

  #failure(cause: unknown): TeacherError {
    if (this.#closed)
      return new TeacherError('closed', `the embedded teacher of task ${this.#task.name} was closed`, { cause });
    return new TeacherError('overloaded', `the embedded teacher of task ${this.#task.name} has no running encoder`, {
      cause,
    });
  }
}

function headTask({ name, examples }: TeacherTask, { field, labels }: SingleEnum): HeadTask {
  const indices = new Map(labels.map((label, index) => [label, index]));
  const counts = new Array<number>(labels.length).fill(0);
  const indexed = examples.map(({ text, answer }, position) => {
    const label = String((JSON.parse(answer) as Record<string, unknown>)[field]);
    const index = indices.get(label);
    if (index === undefined) {
      throw new TeacherError(
        'rejected',
        `task ${name}: expected example ${position + 1} to have one of the labels ${labels.join(', ')}, got ${label}; correct it`,
      );
    }
    counts[index] = (counts[index] ?? 0) + 1;
    return { text, label: index };
  });
  if (labels.length < 2) {
    throw new TeacherError(
      'rejected',
      `task ${name}: expected at least two labels, got ${labels.length}; there is nothing to decide`,
    );
  }
  const without = labels.filter((_, index) => counts[index] === 0);
  if (without.length > 0) {
    throw new TeacherError(
      'rejected',
      `task ${name}: the embedded teacher learns from examples and expected at least one for each label, got none for ${without.join(', ')}; add some`,
    );
  }
  return { labelCount: labels.length, examples: indexed };
}
