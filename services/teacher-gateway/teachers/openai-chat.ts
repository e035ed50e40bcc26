import type { Teacher as TeacherSettings } from '@understudy/task';
import type OpenAI from 'openai';
import { errorInBody } from './http-failures.ts';
import { softFromLogprobs } from './logprobs.ts';
import { spentUsd } from './pricing.ts';
import { type CostBound, TeacherError, type TeacherReply, type TeacherTask } from './teacher.ts';
import { maxFixedTokens, maxTokensOf } from './tokens.ts';

export type OpenAiSettings = Extract<TeacherSettings, { kind: 'openai' }>;

/** What a task's teacher is sent for a text, what that can cost, and what a completion says: the same for a call and for a line of a batch file. */
export class OpenAiChat {
  /** `model at URL`, for messages. */
  readonly name: string;
  readonly #settings: OpenAiSettings;
  readonly #prefix: OpenAI.ChatCompletionMessageParam[];
  readonly #format: OpenAI.ResponseFormatJSONSchema;
  /** Tokens of all that is the same in every request, at most. */
  readonly #fixedTokens: number;
  readonly #outputLimit: ReturnType<typeof outputLimitOf>;
  readonly #logprobs: { logprobs?: true; top_logprobs?: number };
  readonly #heads: TeacherTask['heads'];

  constructor(task: TeacherTask, settings: OpenAiSettings) {
    this.name = `${settings.model} at ${settings.baseUrl}`;
    this.#settings = settings;
    this.#outputLimit = outputLimitOf(settings);
    const { topLogprobs } = settings;
    this.#logprobs = topLogprobs === undefined ? {} : { logprobs: true, top_logprobs: topLogprobs };
    this.#heads = task.heads;
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

  body(text: string): OpenAI.ChatCompletionCreateParamsNonStreaming {
    return {
      model: this.#settings.model,
      messages: [...this.#prefix, { role: 'user', content: text }],
      response_format: this.#format,
      temperature: this.#settings.temperature,
      ...this.#outputLimit,
      ...this.#logprobs,
    };
  }

  costBound(text: string): CostBound {
    const inputTokens = this.#fixedTokens + maxTokensOf(text);
    const outputTokens = this.#settings.maxOutputTokens;
    return {
      usd: spentUsd(this.#settings.pricing, { inputTokens, outputTokens }),
      tokens: inputTokens + outputTokens,
    };
  }

  /** @throws TeacherError when the completion holds no answer */
  reply(completion: OpenAI.ChatCompletion, bound: CostBound, durationMs: number): TeacherReply {
    const { name } = this;
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
      model: model || this.#settings.model,
      usage: { ...tokens, spentUsd: paid, durationMs },
    };
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
