import Anthropic from '@anthropic-ai/sdk';
import { transformJSONSchema } from '@anthropic-ai/sdk/lib/transform-json-schema';
import type { AddressRules } from '@understudy/service/outbound';
import type { Teacher as TeacherSettings } from '@understudy/task';
import { type Asked, errorInBody, teacherErrorOf } from './http-failures.ts';
import { type PooledFetch, pooledFetch } from './http-fetch.ts';
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

export type AnthropicSettings = Extract<TeacherSettings, { kind: 'anthropic' }>;

/** Each call has a connection of its own while it runs. */
const maxConcurrency = 256;
/** What the service itself may add to a prompt to explain the output format to the model. */
const FORMAT_TOKENS = 1_000;
/** Of the vendor's own tools; used where a task names no other place. */
const KEY_VARIABLE = 'ANTHROPIC_API_KEY';

/**
 * A teacher behind Anthropic's messages API. The output format is the API's own (`output_config.format`), with the schema as
 * the SDK rewrites it: what the service cannot enforce becomes part of the descriptions, and is checked here all the same.
 * @throws TeacherError (`unauthorized`) when the key that the task names is not there
 */
export const createAnthropicTeacher = (
  task: TeacherTask,
  settings: AnthropicSettings,
  { env, addresses }: { env: NodeJS.ProcessEnv; addresses: AddressRules },
): Teacher => {
  const named = settings.apiKeyEnv ?? settings.apiKeyFile;
  const key = apiKeyOf(named === undefined ? { apiKeyEnv: KEY_VARIABLE } : settings, env);
  return new AnthropicTeacher(task, settings, key, addresses);
};

class AnthropicTeacher implements Teacher {
  readonly kind = 'anthropic';
  readonly model: string;
  readonly maxConcurrency = maxConcurrency;
  readonly #settings: AnthropicSettings;
  readonly #client: Anthropic;
  readonly #system: string;
  readonly #examples: Anthropic.MessageParam[];
  readonly #format: Anthropic.JSONOutputFormat;
  /** Tokens of all that is the same in every request, at most. */
  readonly #fixedTokens: number;
  readonly #pool: PooledFetch;
  readonly #asked: Asked;
  #closed = false;

  constructor(
    { instructions, schema, examples }: TeacherTask,
    settings: AnthropicSettings,
    secret: string | undefined,
    addresses: AddressRules,
  ) {
    this.model = settings.model;
    this.#settings = settings;
    this.#asked = { name: `${settings.model} at ${settings.baseUrl}`, timeoutMs: settings.timeoutMs };
    this.#pool = pooledFetch({ maxConnections: maxConcurrency, addresses, secret });
    this.#client = new Anthropic({
      baseURL: settings.baseUrl,
      apiKey: secret,
      maxRetries: 0,
      timeout: settings.timeoutMs,
      fetch: this.#pool.fetch,
      // Prompts and answers do not belong into a log.
      logLevel: 'off',
    });
    this.#system = instructions;
    this.#examples = examples.flatMap(({ text, answer }): Anthropic.MessageParam[] => [
      { role: 'user', content: contentOf(text) },
      { role: 'assistant', content: answer },
    ]);
    this.#format = { type: 'json_schema', schema: transformJSONSchema(schema) };
    this.#fixedTokens =
      maxFixedTokens([this.#system, this.#examples, this.#format], this.#examples.length) + FORMAT_TOKENS;
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
      const message = await this.#client.messages.create(
        {
          model: this.model,
          max_tokens: this.#settings.maxOutputTokens,
          system: this.#system,
          messages: [...this.#examples, { role: 'user', content: contentOf(request.text) }],
          output_config: { format: this.#format },
        },
        { signal },
      );
      return this.#reply(message, bound, performance.now() - startedAt);
    } catch (error) {
      signal.throwIfAborted();
      if (this.#closed && !(error instanceof TeacherError)) {
        throw this.#closedError({ cause: error, ...maybePaid(bound) });
      }
      throw teacherErrorOf(error, Anthropic, this.#asked, bound);
    }
  }

  #reply(message: Anthropic.Message, bound: CostBound, durationMs: number): TeacherReply {
    const { name } = this.#asked;
    const fault = errorInBody(message, name, bound);
    if (fault) throw fault;
    const { model, usage, stop_reason: stopped, stop_details: details, content } = message;
    const tokens = { inputTokens: inputTokensOf(usage), outputTokens: usage?.output_tokens ?? 0 };
    const paid = usage ? spentUsd(this.#settings.pricing, tokens) : bound.usd;
    if (stopped === 'refusal') {
      const why = details?.explanation ?? details?.category ?? 'it gave no reason';
      throw new TeacherError('rejected', `${name} refused: ${why.slice(0, 200)}`, { spentUsd: paid });
    }
    const texts = Array.isArray(content) ? content.flatMap((block) => (block.type === 'text' ? [block.text] : [])) : [];
    if (texts.length === 0) {
      throw new TeacherError('malformed', `${name} sent no text (stop_reason ${stopped})`, {
        spentUsd: paid,
        unsettled: !usage,
      });
    }
    const cutOff = stopped === 'max_tokens' || stopped === 'model_context_window_exceeded';
    return {
      content: texts.join(''),
      ...(cutOff ? { cutOff } : {}),
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

/** The API refuses a message without text. */
const contentOf = (text: string): string => (text.trim() === '' ? '(empty)' : text);

/** All that was read: what a cache gave is counted as well, for nobody here knows its price. */
const inputTokensOf = (usage: Anthropic.Usage | undefined): number =>
  (usage?.input_tokens ?? 0) + (usage?.cache_creation_input_tokens ?? 0) + (usage?.cache_read_input_tokens ?? 0);
