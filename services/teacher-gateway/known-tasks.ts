import type { KV } from '@nats-io/kv';
import { BlobError, type BlobStore } from '@understudy/service/blobs/blob-store';
import { readKey } from '@understudy/service/bus/compare-and-set';
import { messageOf, RetryableError, TerminalError } from '@understudy/service/errors';
import type { Logger } from '@understudy/service/telemetry';
import { type CompiledTask, compileTask, type IdKey, parseTask, TaskError, type TeacherModel } from '@understudy/task';
import { z } from 'zod';
import { MAX_KNOWN_TASKS, TASK_LATER_MS } from './limits.ts';
import { openTeacher, openWriter, type TeacherSurroundings, type WritingRequest } from './teachers/open-teacher.ts';
import type { Teacher } from './teachers/teacher.ts';

const modelSchema = z.object({ model: z.string(), version: z.string().optional() });

/** One version of a task: its functions, its connector, and who its teacher last said to be. */
export class KnownTask {
  readonly compiled: CompiledTask;
  /** Stands for all that shapes an answer but the teacher as it reports itself. */
  readonly asked: string;
  readonly #surroundings: TeacherSurroundings;
  readonly #ledger: KV;
  #teacher: Promise<Teacher> | undefined;
  #model: TeacherModel | undefined;
  #fingerprint: string | undefined;
  #reading: Promise<string | undefined> | undefined;

  constructor(compiled: CompiledTask, asked: string, ledger: KV, surroundings: TeacherSurroundings) {
    this.compiled = compiled;
    this.asked = asked;
    this.#ledger = ledger;
    this.#surroundings = surroundings;
  }

  /**
   * What answers are kept under; undefined until the teacher of this task has answered, here or at another replica, for the
   * first time ever.
   */
  async fingerprint(): Promise<string | undefined> {
    if (this.#fingerprint) return this.#fingerprint;
    this.#reading ??= this.#readModel().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  /** The same task's teacher as one that writes inputs. */
  writer(request: WritingRequest): KnownTask {
    return new Writer(this.compiled, this.asked, this.#ledger, this.#surroundings, request);
  }

  /** The connector; made when it is needed first, and again after that failed. Rejects with TeacherError. */
  teacher(): Promise<Teacher> {
    this.#teacher ??= this.open(this.#surroundings).catch((error) => {
      this.#teacher = undefined;
      throw error;
    });
    return this.#teacher;
  }

  /**
   * The fingerprint of an answer by this model. One that differs from the last is noted in KV first, so that a replica that
   * starts anew knows what its lost answers are kept under.
   */
  async fingerprintOf(model: TeacherModel): Promise<string> {
    const last = this.#model;
    if (this.#fingerprint && last?.model === model.model && last.version === model.version) return this.#fingerprint;
    await this.#ledger.put(modelKey(this.asked), JSON.stringify(model));
    return this.#set(model);
  }

  protected open(surroundings: TeacherSurroundings): Promise<Teacher> {
    return openTeacher(this.compiled, surroundings);
  }

  async close(): Promise<void> {
    const teacher = await this.#teacher?.catch(() => undefined);
    this.#teacher = undefined;
    await teacher?.[Symbol.asyncDispose]();
  }

  async #readModel(): Promise<string | undefined> {
    const text = await readKey(this.#ledger, modelKey(this.asked));
    return text === undefined ? undefined : this.#set(modelSchema.parse(JSON.parse(text)));
  }

  #set(model: TeacherModel): string {
    this.#model = model;
    this.#fingerprint = this.compiled.fingerprint(model);
    return this.#fingerprint;
  }
}

class Writer extends KnownTask {
  readonly #request: WritingRequest;

  constructor(
    compiled: CompiledTask,
    asked: string,
    ledger: KV,
    surroundings: TeacherSurroundings,
    request: WritingRequest,
  ) {
    super(compiled, asked, ledger, surroundings);
    this.#request = request;
  }

  protected override open(surroundings: TeacherSurroundings): Promise<Teacher> {
    return openWriter(this.compiled, this.#request, surroundings);
  }
}

const modelKey = (asked: string) => `model.${asked}`;

/** Versions of tasks by digest, from the blob store, compiled once. */
export class KnownTasks {
  readonly #blobs: BlobStore;
  readonly #ledger: KV;
  readonly #surroundings: TeacherSurroundings;
  readonly #log: Logger;
  readonly #idKey: IdKey;
  readonly #known = new Map<string, Promise<KnownTask>>();

  constructor(blobs: BlobStore, ledger: KV, surroundings: TeacherSurroundings, log: Logger, idKey: IdKey) {
    this.#blobs = blobs;
    this.#idKey = idKey;
    this.#ledger = ledger;
    this.#surroundings = surroundings;
    this.#log = log;
  }

  /** @throws TerminalError when there is no such version of this task; RetryableError when it cannot be had now */
  async get(name: string, digest: string): Promise<KnownTask> {
    const loading = this.#known.get(digest) ?? this.#load(digest);
    this.#known.delete(digest);
    this.#known.set(digest, loading);
    const known = await loading;
    if (known.compiled.task.name === name) return known;
    throw new TerminalError(`task_digest ${digest} is a version of ${known.compiled.task.name}, not of ${name}`);
  }

  async close(): Promise<void> {
    const all = await Promise.allSettled(this.#known.values());
    await Promise.all(all.map(async (one) => (one.status === 'fulfilled' ? one.value.close() : undefined)));
  }

  #load(digest: string): Promise<KnownTask> {
    const loading = this.#read(digest);
    loading.catch(() => this.#known.delete(digest));
    for (const [oldest, task] of this.#known) {
      if (this.#known.size < MAX_KNOWN_TASKS) break;
      this.#known.delete(oldest);
      task
        .then((one) => one.close())
        .catch((error) => this.#log.warn({ error: messageOf(error) }, 'closing a teacher'));
    }
    return loading;
  }

  async #read(digest: string): Promise<KnownTask> {
    const compiled = compiledOf(await this.#bodyOf(digest), digest, this.#idKey);
    const asked = compiled.fingerprint({ model: '' });
    return new KnownTask(compiled, asked, this.#ledger, this.#surroundings);
  }

  async #bodyOf(digest: string): Promise<string> {
    try {
      return new TextDecoder().decode(await this.#blobs.get('tasks', digest));
    } catch (error) {
      if (error instanceof BlobError && !error.retryable) {
        throw new TerminalError(`task_digest ${digest}: there is no such task; apply it first`, { cause: error });
      }
      throw new RetryableError(`task ${digest} cannot be read`, { afterMs: TASK_LATER_MS, cause: error });
    }
  }
}

const compiledOf = (body: string, digest: string, idKey: IdKey): CompiledTask => {
  try {
    return compileTask(parseTask(body, `task ${digest}`), idKey);
  } catch (error) {
    if (error instanceof TaskError) throw new TerminalError('the task cannot be used', { cause: error });
    throw error;
  }
};
