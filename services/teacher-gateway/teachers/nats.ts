import type { Msg } from '@nats-io/transport-node';
import { type EventType, events, type Naming, patternOf } from '@understudy/contract';
import type { Teacher as TeacherSettings } from '@understudy/task';
import { z } from 'zod';
import { failureOf, mayBePaid, maybePaid, spentUsd } from './pricing.ts';
import { NoResponders, type RequestInbox } from './request-inbox.ts';
import {
  type CostBound,
  type Teacher,
  TeacherError,
  type TeacherReply,
  type TeacherRequest,
  type TeacherTask,
} from './teacher.ts';

export type NatsSettings = Extract<TeacherSettings, { kind: 'nats' }>;

/** The bus that the teacher lives on, as this service is connected to it. */
export interface TeacherBus {
  inbox: RequestInbox;
  naming: Naming;
}

/** Requests are small and a model on the bus batches as it likes. */
const maxConcurrency = 1_024;
/** What a reply may charge at most; an answer of one enum field is far below. */
const maxOutputTokens = 256;

const tokens = z.number().int().min(0).default(0);

/** What a model on the bus replies with: JSON, either an answer or an error (`README.md` of this folder). */
const replySchema = z.union([
  z.object({
    error: z.object({ status: z.number().int(), message: z.string(), retry_after_ms: z.number().min(0).optional() }),
  }),
  z.object({
    content: z.string(),
    model: z.string().min(1).optional(),
    distribution: z.record(z.string(), z.number()).optional(),
    usage: z.object({ input_tokens: tokens, output_tokens: tokens }).optional(),
  }),
]);

/**
 * A teacher that already lives on the bus, asked by request and reply on its subject.
 * @throws TeacherError (`rejected`) when the subject is the platform's or the server's own
 */
export const createNatsTeacher = (task: TeacherTask, settings: NatsSettings, bus: TeacherBus): Teacher => {
  if (isTaken(settings.subject, bus.naming)) {
    throw new TeacherError(
      'rejected',
      `teacher.subject ${settings.subject} belongs to the platform: a request would be stored as a fact; choose another`,
    );
  }
  return new NatsTeacher(task, settings, bus);
};

const isTaken = (subject: string, naming: Naming): boolean =>
  subject.startsWith('$') ||
  subject.startsWith('_INBOX.') ||
  (Object.keys(events) as EventType[]).some((type) => `${subject}.`.startsWith(patternOf(naming, type).slice(0, -1)));

class NatsTeacher implements Teacher {
  readonly kind = 'nats';
  readonly model: string;
  readonly maxConcurrency = maxConcurrency;
  readonly #task: TeacherTask;
  readonly #settings: NatsSettings;
  readonly #inbox: RequestInbox;
  /** All of a request but prompt and text, ready to be sent. */
  readonly #prefix: string;
  #closed = false;

  constructor(task: TeacherTask, settings: NatsSettings, bus: TeacherBus) {
    const { name, instructions, schema, examples } = task;
    this.#task = task;
    this.model = settings.model;
    this.#settings = settings;
    this.#inbox = bus.inbox;
    const shown = examples.map(({ text, answer }) => ({ text, answer }));
    const fixed = JSON.stringify({ task: name, model: settings.model, instructions, schema, examples: shown });
    this.#prefix = fixed.slice(0, -1);
  }

  costBound({ text }: TeacherRequest): CostBound {
    const inputTokens = Buffer.byteLength(this.#prefix) + Buffer.byteLength(text);
    return {
      usd: spentUsd(this.#settings.pricing, { inputTokens, outputTokens: maxOutputTokens }),
      tokens: inputTokens + maxOutputTokens,
    };
  }

  async answer(request: TeacherRequest, signal: AbortSignal): Promise<TeacherReply> {
    signal.throwIfAborted();
    if (this.#closed) throw this.#closedError();
    const startedAt = performance.now();
    const id = request.promptId === undefined ? '' : `,"id":"${request.promptId}"`;
    const body = `${this.#prefix}${id},"text":${JSON.stringify(request.text)}}`;
    let reply: Msg;
    try {
      reply = await this.#inbox.request(this, this.#settings.subject, body, signal);
    } catch (error) {
      signal.throwIfAborted();
      throw this.#failure(error, this.costBound(request));
    }
    return this.#read(reply.string(), request, performance.now() - startedAt);
  }

  #read(text: string, request: TeacherRequest, durationMs: number): TeacherReply {
    const read = parse(text);
    const bound = this.costBound(request);
    if (!read) {
      const message = `${this.#name} replied with something else than content or error`;
      throw new TeacherError('malformed', message, { words: text.slice(0, 100), ...maybePaid(bound) });
    }
    if ('error' in read) {
      const { status, message, retry_after_ms: retryAfterMs } = read.error;
      const details = {
        words: message.slice(0, 300),
        ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
        ...(mayBePaid(status) ? maybePaid(bound) : {}),
      };
      throw new TeacherError(failureOf(status), `${this.#name} answered ${status}`, details);
    }
    const { input_tokens: inputTokens = 0, output_tokens: outputTokens = 0 } = read.usage ?? {};
    const paid = read.usage ? spentUsd(this.#settings.pricing, { inputTokens, outputTokens }) : bound.usd;
    return {
      content: read.content,
      model: read.model ?? this.model,
      ...this.#softOf(read.distribution, paid),
      usage: { inputTokens, outputTokens, spentUsd: paid, durationMs },
    };
  }

  /** By label, as it is easy to write down; some model may leave out what it finds impossible. */
  #softOf(distribution: Record<string, number> | undefined, spentUsd: number): Pick<TeacherReply, 'soft'> {
    if (!distribution) return {};
    const { single } = this.#task;
    const strange = Object.keys(distribution).find((label) => !single?.labels.includes(label));
    if (!single || strange !== undefined) {
      const expected = single
        ? 'probabilities of labels of the task'
        : 'no distribution, because the task has several fields';
      throw new TeacherError('malformed', `${this.#name}: expected ${expected}, got one of ${strange}`, { spentUsd });
    }
    return { soft: { [single.field]: single.labels.map((label) => distribution[label] ?? 0) } };
  }

  get #name(): string {
    return `${this.model} on ${this.#settings.subject}`;
  }

  #failure(cause: unknown, bound: CostBound): TeacherError {
    if (cause instanceof TeacherError) return cause;
    if (cause instanceof NoResponders) {
      return new TeacherError('unreachable', `nobody answers on ${this.#settings.subject} (teacher.subject)`, {
        cause,
      });
    }
    return new TeacherError('unreachable', `${this.#name} could not be asked`, { cause, ...maybePaid(bound) });
  }

  #closedError(): TeacherError {
    return new TeacherError('closed', `${this.#name}: the connector was closed`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#inbox.giveUp(this, this.#closedError());
  }
}

const parse = (text: string): z.infer<typeof replySchema> | undefined => {
  try {
    return replySchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
};
