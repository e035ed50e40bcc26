import type { Teacher as TeacherSettings } from '@understudy/task';
import OpenAI from 'openai';
import { spentUsd } from './pricing.ts';
import { apiKeyOf } from './secrets.ts';
import {
  type CostBound,
  type Teacher,
  TeacherError,
  type TeacherFailure,
  type TeacherReply,
  type TeacherRequest,
  type TeacherTask,
} from './teacher.ts';

export type OpenAiSettings = Extract<TeacherSettings, { kind: 'openai' }>;

/** Each call has a connection of its own while it runs; more would exhaust small model servers before they help. */
const maxConcurrency = 256;
/** UTF-8 never needs more tokens than bytes, in any tokenizer in use; role markers and the schema are bounded apart. */
const tokensPerMessage = 8;
/** Servers that want nothing still want the header. */
const noKey = 'none';

/**
 * A teacher behind anything that speaks OpenAI's chat completions: OpenAI, vLLM, Ollama, NIM, llama.cpp. Retries are the
 * caller's, because each attempt is paid from a budget.
 * @throws TeacherError (`unauthorized`) when the key that the task names is not there
 */
export const createOpenAiTeacher = (task: TeacherTask, settings: OpenAiSettings, env: NodeJS.ProcessEnv): Teacher =>
  new OpenAiTeacher(task, settings, apiKeyOf(settings, env) ?? noKey);

class OpenAiTeacher implements Teacher {
  readonly kind = 'openai';
  readonly model: string;
  readonly maxConcurrency = maxConcurrency;
  readonly #settings: OpenAiSettings;
  readonly #client: OpenAI;
  readonly #prefix: OpenAI.ChatCompletionMessageParam[];
  readonly #format: OpenAI.ResponseFormatJSONSchema;
  /** Tokens of all that is the same in every request, at most. */
  readonly #fixedTokens: number;
  readonly #closed = new AbortController();

  constructor(task: TeacherTask, settings: OpenAiSettings, apiKey: string) {
    this.model = settings.model;
    this.#settings = settings;
    this.#client = new OpenAI({
      baseURL: settings.baseUrl,
      apiKey,
      maxRetries: 0,
      timeout: settings.timeoutMs,
    });
    this.#prefix = [
      { role: 'system', content: task.instructions },
      ...task.examples.flatMap(({ text, answer }): OpenAI.ChatCompletionMessageParam[] => [
        { role: 'user', content: text },
        { role: 'assistant', content: answer },
      ]),
    ];
    this.#format = {
      type: 'json_schema',
      json_schema: { name: task.name.replaceAll('-', '_'), strict: true, schema: task.schema },
    };
    this.#fixedTokens =
      bytesOf(JSON.stringify([this.#prefix, this.#format])) + (this.#prefix.length + 2) * tokensPerMessage;
  }

  costBound({ text }: TeacherRequest): CostBound {
    const inputTokens = this.#fixedTokens + bytesOf(text);
    return { usd: spentUsd(this.#settings.pricing, { inputTokens, outputTokens: this.#settings.maxOutputTokens }) };
  }

  async answer({ text }: TeacherRequest, signal: AbortSignal): Promise<TeacherReply> {
    signal.throwIfAborted();
    const startedAt = performance.now();
    try {
      const completion = await this.#client.chat.completions.create(
        {
          model: this.model,
          messages: [...this.#prefix, { role: 'user', content: text }],
          response_format: this.#format,
          temperature: this.#settings.temperature,
          max_completion_tokens: this.#settings.maxOutputTokens,
        },
        { signal: AbortSignal.any([signal, this.#closed.signal]) },
      );
      return this.#reply(completion, performance.now() - startedAt);
    } catch (error) {
      signal.throwIfAborted();
      throw this.#failure(error);
    }
  }

  #reply(completion: OpenAI.ChatCompletion, durationMs: number): TeacherReply {
    const tokens = {
      inputTokens: completion.usage?.prompt_tokens ?? 0,
      outputTokens: completion.usage?.completion_tokens ?? 0,
    };
    const paid = spentUsd(this.#settings.pricing, tokens);
    const message = completion.choices?.[0]?.message;
    if (message?.refusal) {
      throw new TeacherError('rejected', `${this.#name} refused: ${message.refusal.slice(0, 200)}`, { spentUsd: paid });
    }
    if (typeof message?.content !== 'string') {
      throw new TeacherError('malformed', `${this.#name} sent no choice with content`, { spentUsd: paid });
    }
    return {
      content: message.content,
      model: completion.model || this.model,
      usage: { ...tokens, spentUsd: paid, durationMs },
    };
  }

  get #name(): string {
    return `${this.model} at ${this.#settings.baseUrl}`;
  }

  #failure(error: unknown): TeacherError {
    if (error instanceof TeacherError) return error;
    if (this.#closed.signal.aborted) return new TeacherError('closed', `${this.#name}: the connector was closed`);
    if (error instanceof OpenAI.APIConnectionTimeoutError) {
      return new TeacherError('timeout', `${this.#name} gave no answer within ${this.#settings.timeoutMs} ms`, {
        cause: error,
      });
    }
    if (error instanceof OpenAI.APIConnectionError) {
      return new TeacherError('unreachable', `${this.#name} cannot be reached; check teacher.baseUrl`, {
        cause: error.cause ?? error,
      });
    }
    if (error instanceof OpenAI.APIError && error.status !== undefined) {
      const retryAfterMs = retryAfterOf(error.headers);
      const message = `${this.#name} answered ${error.status}: ${error.message.slice(0, 300)}`;
      return new TeacherError(failureOf(error.status), message, {
        cause: error,
        ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      });
    }
    return new TeacherError('malformed', `${this.#name} sent a reply that cannot be read`, { cause: error });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
  }
}

const bytesOf = (text: string): number => Buffer.byteLength(text);

const failureOf = (status: number): TeacherFailure => {
  if (status === 401 || status === 403) return 'unauthorized';
  if (status === 408) return 'timeout';
  if (status === 429) return 'rate-limited';
  return status >= 500 ? 'overloaded' : 'rejected';
};

/** `retry-after-ms`, or `retry-after` in seconds or as a date (RFC 9110, 10.2.3). */
export const retryAfterOf = (headers: Headers | undefined): number | undefined => {
  const milliseconds = Number(headers?.get('retry-after-ms') || Number.NaN);
  if (milliseconds >= 0) return milliseconds;
  const value = headers?.get('retry-after');
  if (!value) return undefined;
  const seconds = Number(value);
  const waitMs = Number.isNaN(seconds) ? Date.parse(value) - Date.now() : seconds * 1_000;
  return Number.isNaN(waitMs) ? undefined : Math.max(0, waitMs);
};
