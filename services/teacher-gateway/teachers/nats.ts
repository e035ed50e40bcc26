import { errors, type NatsConnection } from '@nats-io/transport-node';
import type { Teacher as TeacherSettings } from '@understudy/task';
import { z } from 'zod';
import { spentUsd } from './pricing.ts';
import {
  type CostBound,
  type Teacher,
  TeacherError,
  type TeacherFailure,
  type TeacherReply,
  type TeacherRequest,
  type TeacherTask,
} from './teacher.ts';

export type NatsSettings = Extract<TeacherSettings, { kind: 'nats' }>;

/** Requests are small and a model on the bus batches as it likes. */
const maxConcurrency = 1_024;
/** A model on the bus states no bound on its output; an answer of one enum field is far below. */
const maxOutputTokens = 256;

const usage = z.object({ input_tokens: z.number().min(0).default(0), output_tokens: z.number().min(0).default(0) });

/**
 * What a model on the bus replies with: JSON, either an answer or an error.
 * `distribution` gives a probability to each label, if the model has them.
 */
const reply = z.union([
  z.object({
    error: z.object({ status: z.number().int(), message: z.string(), retry_after_ms: z.number().min(0).optional() }),
  }),
  z.object({
    content: z.string(),
    model: z.string().optional(),
    distribution: z.record(z.string(), z.number()).optional(),
    usage: usage.default({ input_tokens: 0, output_tokens: 0 }),
  }),
]);

/**
 * A teacher that already lives on the bus: one request to its subject, JSON `{instructions, text, schema, examples}`,
 * and one JSON reply as `reply` says.
 */
export const createNatsTeacher = (task: TeacherTask, settings: NatsSettings, nc: NatsConnection): Teacher =>
  new NatsTeacher(task, settings, nc);

class NatsTeacher implements Teacher {
  readonly kind = 'nats';
  readonly model: string;
  readonly maxConcurrency = maxConcurrency;
  readonly #settings: NatsSettings;
  readonly #nc: NatsConnection;
  /** All of a request but its text, ready to be sent. */
  readonly #prefix: string;
  readonly #closed = Promise.withResolvers<never>();

  constructor(task: TeacherTask, settings: NatsSettings, nc: NatsConnection) {
    this.model = settings.model;
    this.#settings = settings;
    this.#nc = nc;
    const { instructions, schema, examples } = task;
    const fixed = JSON.stringify({
      instructions,
      schema,
      examples: examples.map(({ text, answer }) => ({ text, answer })),
    });
    this.#prefix = `${fixed.slice(0, -1)},"text":`;
    this.#closed.promise.catch(() => {});
  }

  costBound({ text }: TeacherRequest): CostBound {
    const inputTokens = Buffer.byteLength(this.#prefix) + Buffer.byteLength(text);
    return { usd: spentUsd(this.#settings.pricing, { inputTokens, outputTokens: maxOutputTokens }) };
  }

  async answer({ text }: TeacherRequest, signal: AbortSignal): Promise<TeacherReply> {
    signal.throwIfAborted();
    const startedAt = performance.now();
    const aborted = Promise.withResolvers<never>();
    const abort = () => aborted.reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    try {
      const request = this.#nc.request(this.#settings.subject, `${this.#prefix}${JSON.stringify(text)}}`, {
        timeout: this.#settings.timeoutMs,
      });
      const message = await Promise.race([request, aborted.promise, this.#closed.promise]);
      return this.#read(message.string(), performance.now() - startedAt);
    } catch (error) {
      signal.throwIfAborted();
      throw this.#failure(error);
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  #read(text: string, durationMs: number): TeacherReply {
    const read = parse(text);
    if (!read)
      throw new TeacherError(
        'malformed',
        `${this.#name} replied with something else than content or error: ${text.slice(0, 100)}`,
      );
    if ('error' in read) {
      const { status, message, retry_after_ms: retryAfterMs } = read.error;
      const details = retryAfterMs === undefined ? {} : { retryAfterMs };
      throw new TeacherError(failureOf(status), `${this.#name} answered ${status}: ${message.slice(0, 300)}`, details);
    }
    const tokens = { inputTokens: read.usage.input_tokens, outputTokens: read.usage.output_tokens };
    return {
      content: read.content,
      model: read.model ?? this.model,
      ...(read.distribution ? { distribution: read.distribution } : {}),
      usage: { ...tokens, spentUsd: spentUsd(this.#settings.pricing, tokens), durationMs },
    };
  }

  get #name(): string {
    return `${this.model} on ${this.#settings.subject}`;
  }

  #failure(error: unknown): TeacherError {
    if (error instanceof TeacherError) return error;
    if (error instanceof errors.TimeoutError) {
      return new TeacherError('timeout', `${this.#name} gave no answer within ${this.#settings.timeoutMs} ms`, {
        cause: error,
      });
    }
    if (error instanceof errors.RequestError && error.isNoResponders()) {
      return new TeacherError('unreachable', `nobody answers on ${this.#settings.subject} (teacher.subject)`, {
        cause: error,
      });
    }
    return new TeacherError('unreachable', `${this.#name} could not be asked`, { cause: error });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.reject(new TeacherError('closed', `${this.#name}: the connector was closed`));
  }
}

const parse = (text: string): z.infer<typeof reply> | undefined => {
  try {
    return reply.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
};

const failureOf = (status: number): TeacherFailure => {
  if (status === 401 || status === 403) return 'unauthorized';
  if (status === 429) return 'rate-limited';
  return status >= 500 ? 'overloaded' : 'rejected';
};
