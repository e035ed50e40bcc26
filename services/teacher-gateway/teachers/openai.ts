import type { AddressRules } from '@understudy/service/outbound';
import OpenAI from 'openai';
import { type Asked, teacherErrorOf } from './http-failures.ts';
import { type PooledFetch, pooledFetch } from './http-fetch.ts';
import { OpenAiChat, type OpenAiSettings } from './openai-chat.ts';
import { maybePaid } from './pricing.ts';
import { apiKeyOf } from './secrets.ts';
import {
  type CostBound,
  type Teacher,
  TeacherError,
  type TeacherReply,
  type TeacherRequest,
  type TeacherTask,
} from './teacher.ts';

/** Each call has a connection of its own while it runs; more would exhaust small model servers before they help. */
const maxConcurrency = 256;
/** Servers that want nothing still want the header. */
const noKey = 'none';

/** What reaches a server: the task's key, and where connections may go. */
export interface OpenAiAccess {
  env: NodeJS.ProcessEnv;
  addresses: AddressRules;
}

/**
 * A client without retries, and its connections.
 * @throws TeacherError (`unauthorized`) when the key that the task names is not there
 */
export const openAiClient = (
  settings: OpenAiSettings,
  { env, addresses }: OpenAiAccess,
): { client: OpenAI; pool: PooledFetch } => {
  const secret = apiKeyOf(settings, env);
  const pool = pooledFetch({ maxConnections: maxConcurrency, addresses, secret });
  const client = new OpenAI({
    baseURL: settings.baseUrl,
    apiKey: secret ?? noKey,
    maxRetries: 0,
    timeout: settings.timeoutMs,
    fetch: pool.fetch,
    // Where the base URL is a gateway of ours, no student may answer in the teacher's place.
    defaultHeaders: { 'x-understudy-teacher': '1' },
    // Prompts and answers do not belong into a log.
    logLevel: 'off',
  });
  return { client, pool };
};

/**
 * A teacher behind anything that speaks OpenAI's chat completions: OpenAI, vLLM, Ollama, NIM, llama.cpp. Retries are the
 * caller's, because each attempt is paid from a budget.
 * @throws TeacherError (`unauthorized`) when the key that the task names is not there
 */
export const createOpenAiTeacher = (task: TeacherTask, settings: OpenAiSettings, access: OpenAiAccess): Teacher =>
  new OpenAiTeacher(task, settings, access);

class OpenAiTeacher implements Teacher {
  readonly kind = 'openai';
  readonly model: string;
  readonly maxConcurrency = maxConcurrency;
  readonly #chat: OpenAiChat;
  readonly #client: OpenAI;
  readonly #pool: PooledFetch;
  readonly #asked: Asked;
  #closed = false;

  constructor(task: TeacherTask, settings: OpenAiSettings, access: OpenAiAccess) {
    this.model = settings.model;
    this.#chat = new OpenAiChat(task, settings);
    this.#asked = { name: this.#chat.name, timeoutMs: settings.timeoutMs };
    const { client, pool } = openAiClient(settings, access);
    this.#client = client;
    this.#pool = pool;
  }

  costBound({ text }: TeacherRequest): CostBound {
    return this.#chat.costBound(text);
  }

  async answer(request: TeacherRequest, signal: AbortSignal): Promise<TeacherReply> {
    signal.throwIfAborted();
    if (this.#closed) throw this.#closedError();
    const startedAt = performance.now();
    const bound = this.costBound(request);
    try {
      const completion = await this.#client.chat.completions.create(this.#chat.body(request.text), { signal });
      return this.#chat.reply(completion, bound, performance.now() - startedAt);
    } catch (error) {
      signal.throwIfAborted();
      if (this.#closed && !(error instanceof TeacherError)) {
        throw this.#closedError({ cause: error, ...maybePaid(bound) });
      }
      throw teacherErrorOf(error, OpenAI, this.#asked, bound);
    }
  }

  #closedError(details: ConstructorParameters<typeof TeacherError>[2] = {}): TeacherError {
    return new TeacherError('closed', `${this.#asked.name}: the connector was closed`, details);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#pool.close();
  }
}
