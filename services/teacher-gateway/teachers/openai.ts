import type { AddressRules } from '@understudy/service/outbound';
import type { Teacher as TeacherSettings } from '@understudy/task';
import OpenAI from 'openai';
import { type Asked, errorInBody, teacherErrorOf } from './http-failures.ts';
import { type PooledFetch, pooledFetch } from './http-fetch.ts';
import { softFromLogprobs } from './logprobs.ts';
import { maybePaid, spentUsd } from './pricing.ts';
import { apiKeyOf } from './secrets.ts';
import {
  type CostBound,
  type Teacher,
  TeacherError,
  type TeacherReply,
  type TeacherRequest,
  type TeacherTask,
} from './teacher.ts';
import { maxFixedTokens, maxTokensOf } from './tokens.ts';

export type OpenAiSettings = Extract<TeacherSettings, { kind: 'openai' }>;

/** Each call has a connection of its own while it runs; more would exhaust small model servers before they help. */
const maxConcurrency = 256;
/** Servers that want nothing still want the header. */
const noKey = 'none';

/**
 * A teacher behind anything that speaks OpenAI's chat completions: OpenAI, vLLM, Ollama, NIM, llama.cpp. Retries are the
 * caller's, because each attempt is paid from a budget.
 * @throws TeacherError (`unauthorized`) when the key that the task names is not there
 */
export const createOpenAiTeacher = (
  task: TeacherTask,
  settings: OpenAiSettings,
  { env, addresses }: { env: NodeJS.ProcessEnv; addresses: AddressRules },
): Teacher => new OpenAiTeacher(task, settings, apiKeyOf(settings, env), addresses);

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
  readonly #logprobs: { logprobs?: true; top_logprobs?: number };
  readonly #heads: TeacherTask['heads'];
  readonly #pool: PooledFetch;
  readonly #asked: Asked;
  #closed = false;

  constructor(task: TeacherTask, settings: OpenAiSettings, secret: string | undefined, addresses: AddressRules) {
    this.model = settings.model;
    this.#settings = settings;
    this.#outputLimit = outputLimitOf(settings);
    const { topLogprobs } = settings;
    this.#logprobs = topLogprobs === undefined ? {} : { logprobs: true, top_logprobs: topLogprobs };
    this.#heads = task.heads;
    this.#asked = { name: `${settings.model} at ${settings.baseUrl}`, timeoutMs: settings.timeoutMs };
    this.#pool = pooledFetch({ maxConnections: maxConcurrency, addresses, secret });
    this.#client = new OpenAI({
      baseURL: settings.baseUrl,
      apiKey: secret ?? noKey,
      maxRetries: 0,
      timeout: settings.timeoutMs,
      fetch: this.#pool.fetch,
      // Where the base URL is a gateway of ours, no student may answer in the teacher's place.
      defaultHeaders: { 'x-understudy-teacher': '1' },
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
      json_schema: { name: task.name.replaceAll('-', '_'), strict: isStrict(task.schema), schema: task.schema },
    };
    this.#fixedTokens = maxFixedTokens([this.#prefix, this.#format], this.#prefix.length);
  }

  costBound({ text }: TeacherRequest): CostBound {
    const inputTokens = this.#fixedTokens + maxTokensOf(text);
    const outputTokens = this.#settings.maxOutputTokens;
    return {
      usd: spentUsd(this.#settings.pricing, { inputTokens, outputTokens }),
      tokens: inputTokens + outputTokens,
    };
  }

  async answer(request: TeacherRequest, signal: AbortSignal): Promise<TeacherReply> {
    signal.throwIfAborted();
    if (this.#closed) throw this.#closedError();
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
          ...this.#logprobs,
        },
        { signal },
      );
      return this.#reply(completion, bound, performance.now() - startedAt);
    } catch (error) {
      signal.throwIfAborted();
      if (this.#closed && !(error instanceof TeacherError)) {
        throw this.#closedError({ cause: error, ...maybePaid(bound) });
      }
      throw teacherErrorOf(error, OpenAI, this.#asked, bound);
    }
  }

  #reply(completion: OpenAI.ChatCompletion, bound: CostBound, durationMs: number): TeacherReply {
    const { name } = this.#asked;
    const fault = errorInBody(completion, name, bound);
    if (fault) throw fault;
    const { model, usage, choices } = completion;
    const tokens = { inputTokens: usage?.prompt_tokens ?? 0, outputTokens: usage?.completion_tokens ?? 0 };
    const paid = usage ? spentUsd(this.#settings.pricing, tokens) : bound.usd;
    const { message, finish_reason: finished, logprobs } = choices?.[0] ?? {};
    if (message?.refusal || finished === 'content_filter') {
      const why = message?.refusal ?? 'its content filter stopped the answer';
      throw new TeacherError('rejected', `${name} refused: ${why.slice(0, 200)}`, { spentUsd: paid });
    }
    if (typeof message?.content !== 'string') {
      throw new TeacherError('malformed', `${name} sent no choice with content`, { spentUsd: paid, unsettled: !usage });
    }
    return {
      content: message.content,
      ...(finished === 'length' ? { cutOff: true } : {}),
      ...(logprobs?.content ? { soft: softFromLogprobs(message.content, logprobs.content, this.#heads) } : {}),
      model: model || this.model,
      usage: { ...tokens, spentUsd: paid, durationMs },
    };
  }

  #closedError(details: ConstructorParameters<typeof TeacherError>[2] = {}): TeacherError {
    return new TeacherError('closed', `${this.#asked.name}: the connector was closed`, details);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#pool.close();
  }
}

/** The API enforces a schema in which every field of every object is required, and refuses to enforce another. */
const isStrict = (schema: unknown): boolean => {
  if (typeof schema !== 'object' || schema === null) return true;
  const { properties, required } = schema as { properties?: object; required?: readonly string[] };
  const whole = properties === undefined || Object.keys(properties).every((name) => required?.includes(name));
  return whole && Object.values(schema).every(isStrict);
};

/** OpenAI's own service has renamed the limit and refuses the old name for newer models; other servers know the old one. */
const outputLimitOf = ({ baseUrl, maxOutputTokens }: OpenAiSettings) =>
  /(^|\.)(openai|azure)\.com$/.test(new URL(baseUrl).hostname)
    ? { max_completion_tokens: maxOutputTokens }
    : { max_tokens: maxOutputTokens };
