import type { Teacher as TeacherSettings } from '@understudy/task';
import OpenAI from 'openai';
import { ForbiddenAddress, type PooledFetch, pooledFetch } from './http-fetch.ts';
import { failureOf, mayBePaid, maybePaid, spentUsd } from './pricing.ts';
import { apiKeyOf } from './secrets.ts';
import {
  type CostBound,
  type Teacher,
  TeacherError,
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
  readonly #outputLimit: ReturnType<typeof outputLimitOf>;
  readonly #pool: PooledFetch = pooledFetch(maxConcurrency);
  #closed = false;

  constructor(task: TeacherTask, settings: OpenAiSettings, apiKey: string) {
    this.model = settings.model;
    this.#settings = settings;
    this.#outputLimit = outputLimitOf(settings);
    this.#client = new OpenAI({
      baseURL: settings.baseUrl,
      apiKey,
      maxRetries: 0,
      timeout: settings.timeoutMs,
      fetch: this.#pool.fetch,
      // Prompts and answers do not belong into a log.
      logLevel: 'off',
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
    const outputTokens = this.#settings.maxOutputTokens;
    return {
      usd: spentUsd(this.#settings.pricing, { inputTokens, outputTokens }),
      tokens: inputTokens + outputTokens,
    };
  }

  async answer(request: TeacherRequest, signal: AbortSignal): Promise<TeacherReply> {
    signal.throwIfAborted();
    const startedAt = performance.now();
    const bound = this.costBound(request);
    try {
      const completion = await this.#client.chat.completions.create(
        {
          model: this.model,
          messages: [...this.#prefix, { role: 'user', content: request.text }],
          response_format: this.#format,
          temperature: this.#settings.temperature,
          ...this.#outputLimit,
        },
        { signal },
      );
      return this.#reply(completion, bound, performance.now() - startedAt);
    } catch (error) {
      signal.throwIfAborted();
      throw this.#failure(error, bound);
    }
  }

  #reply(completion: OpenAI.ChatCompletion, bound: CostBound, durationMs: number): TeacherReply {
    const inside = errorInside(completion);
    if (inside) {
      const message = `${this.#name} answered 200 with an error in its body: ${inside.message}`;
      throw new TeacherError(failureOf(inside.status), message, maybePaid(bound));
    }
    const { model, usage, choices } = completion;
    const tokens = { inputTokens: usage?.prompt_tokens ?? 0, outputTokens: usage?.completion_tokens ?? 0 };
    const paid = usage ? spentUsd(this.#settings.pricing, tokens) : bound.usd;
    const message = choices?.[0]?.message;
    if (message?.refusal) {
      throw new TeacherError('rejected', `${this.#name} refused: ${message.refusal.slice(0, 200)}`, { spentUsd: paid });
    }
    if (typeof message?.content !== 'string') {
      throw new TeacherError('malformed', `${this.#name} sent no choice with content`, {
        spentUsd: paid,
        unsettled: !usage,
      });
    }
    return {
      content: message.content,
      model: model || this.model,
      usage: { ...tokens, spentUsd: paid, durationMs },
    };
  }

  get #name(): string {
    return `${this.model} at ${this.#settings.baseUrl}`;
  }

  /** A call that broke off may have been paid for all the same. */
  #failure(error: unknown, bound: CostBound): TeacherError {
    if (error instanceof TeacherError) return error;
    const unsure = { cause: error, ...maybePaid(bound) };
    if (this.#closed) return new TeacherError('closed', `${this.#name}: the connector was closed`, unsure);
    if (error instanceof OpenAI.APIConnectionTimeoutError) {
      return new TeacherError('timeout', `${this.#name} gave no answer within ${this.#settings.timeoutMs} ms`, unsure);
    }
    if (error instanceof OpenAI.APIConnectionError) return this.#disconnected(error.cause ?? error, bound);
    if (error instanceof OpenAI.APIError && error.status !== undefined) {
      const retryAfterMs = retryAfterOf(error.headers);
      const message = `${this.#name} answered ${error.status}: ${error.message.slice(0, 300)}`;
      return new TeacherError(failureOf(error.status), message, {
        cause: error,
        ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
        ...(mayBePaid(error.status) ? maybePaid(bound) : {}),
      });
    }
    return new TeacherError('malformed', `${this.#name} sent a reply that cannot be read`, unsure);
  }

  #disconnected(cause: unknown, bound: CostBound): TeacherError {
    if (cause instanceof ForbiddenAddress) return new TeacherError('rejected', cause.message, { cause });
    const { code } = cause as NodeJS.ErrnoException;
    const neverConnected = code !== undefined && neverConnectedCodes.has(code);
    return new TeacherError('unreachable', `${this.#name} cannot be reached; check teacher.baseUrl`, {
      cause,
      ...(neverConnected ? {} : maybePaid(bound)),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#pool.close();
  }
}

const neverConnectedCodes: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH']);

/** OpenAI's own service has renamed the limit and refuses the old name for newer models; other servers know the old one. */
const outputLimitOf = ({ baseUrl, maxOutputTokens }: OpenAiSettings) =>
  /(^|\.)(openai|azure)\.com$/.test(new URL(baseUrl).hostname)
    ? { max_completion_tokens: maxOutputTokens }
    : { max_tokens: maxOutputTokens };

const bytesOf = (text: string): number => Buffer.byteLength(text);

/** What some gateways in front of several providers send instead of a completion: `{"error": …}` with status 200. */
const errorInside = (reply: object): { status: number; message: string } | undefined => {
  if (!('error' in reply) || typeof reply.error !== 'object' || reply.error === null) return undefined;
  const { code, message } = reply.error as { code?: unknown; message?: unknown };
  const status = Number(code);
  return { status: status >= 400 ? status : 500, message: String(message).slice(0, 300) };
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
