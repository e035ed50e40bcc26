import type { TeacherKind } from '@understudy/contract';
import type { Head } from '@understudy/task/output/head';

/**
 * What every kind of teacher implements.
 *
 * A connector does one thing: it asks its model once and reports what came back. It does not retry, parse, validate,
 * count money against a budget or look in a cache: the service around it does, the same way for every kind.
 * A connector is created for one task, because what is fixed for a task (instructions, examples, output schema) is often
 * worth preparing once: a prompt prefix, a fitted head, a checked connection.
 */

/** What is fixed for all requests of one task. */
export interface TeacherTask {
  readonly name: string;
  /** What the teacher is told (the system message). */
  readonly instructions: string;
  /** The task's output JSON Schema. */
  readonly schema: Readonly<Record<string, unknown>>;
  /** What is decided about an answer: the parts that probabilities can be given for. */
  readonly heads: readonly Head[];
  /** Where the output is one enum field and nothing else: its name, and its values in the schema's order. */
  readonly single: { readonly field: string; readonly labels: readonly string[] } | undefined;
  /** Worked examples, in the task file's order; `text` is rendered and cut exactly as a request's text is. */
  readonly examples: readonly TeacherExample[];
}

export interface TeacherExample {
  readonly text: string;
  /** The answer in canonical JSON, e.g. `{"label":"spam"}`. */
  readonly answer: string;
}

export interface TeacherRequest {
  /** The rendered, cut text of one prompt: what the student will read too. May be empty. */
  readonly text: string;
  /** Which of several answers to the same text this is to be; 0 for the first. */
  readonly sampleNumber?: number;
  /** Id of the prompt, for teachers that keep a log of their own. */
  readonly promptId?: string;
}

export interface TeacherReply {
  /** Raw text of the answer. The caller parses it and validates it against the schema; it may be anything. */
  readonly content: string;
  /** True where the model ran into its limit of tokens before it was done. */
  readonly cutOff?: boolean;
  /** By the name of a head, where the teacher can give it: probabilities in the order of the head's values, summing to 1 (±1e-3). */
  readonly soft?: Readonly<Record<string, readonly number[]>>;
  /** The model as the server that answered names it; part of the fingerprint. */
  readonly model: string;
  /** Its version or system fingerprint, where the server reports one; part of the fingerprint. */
  readonly version?: string;
  readonly usage: TeacherUsage;
}

export interface TeacherUsage {
  /** Tokens read and written as the provider counts them; 0 where it has no such notion. */
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** What this call cost; 0 for a teacher that costs nothing per call. */
  readonly spentUsd: number;
  /** From asking to the last byte of the answer, waiting in the connector's own queues included. */
  readonly durationMs: number;
}

/** The most one call can cost, computed before it is made: what is reserved from the budget and from the rate. */
export interface CostBound {
  readonly usd: number;
  /** Tokens read and written together; 0 where the model has no such notion. */
  readonly tokens: number;
}

export interface Teacher extends AsyncDisposable {
  readonly kind: TeacherKind;
  /** The model as the task file names it. */
  readonly model: string;
  /** How many calls are worth having in flight at once; the service's permits never let through more. */
  readonly maxConcurrency: number;
  /** An upper bound of what `answer(request)` will cost. Pure and fast. */
  costBound(request: TeacherRequest): CostBound;
  /**
   * Asks once. Concurrent calls are welcome; a connector may batch them.
   * Rejects with a `TeacherError` and nothing else, except when `signal` aborts: then with `signal.reason`, as soon as
   * it can, whatever the model is doing.
   */
  answer(request: TeacherRequest, signal: AbortSignal): Promise<TeacherReply>;
  /** Lets go of connections and threads. Pending answers reject with a retryable `TeacherError`. Safe to call twice. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Why a teacher gave no answer. The service copies it into `teacher.declined` when it gives up. */
export type TeacherFailure =
  | 'unreachable' // no connection, name not resolved, no responders
  | 'timeout' // connected, but no answer within the limit
  | 'rate-limited' // 429 and its kin
  | 'overloaded' // 5xx and its kin, or a worker that died
  | 'unauthorized' // 401, 403, missing credentials
  | 'rejected' // the request itself is refused: 400, 404, 413, content policy
  | 'malformed' // a reply came, but not one of the protocol: truncated, wrong shape
  | 'closed'; // this connector was closed while the answer was pending

/** Failures that another attempt may cure. The others stay as they are until a person changes something. */
const RETRYABLE: ReadonlySet<TeacherFailure> = new Set([
  'unreachable',
  'timeout',
  'rate-limited',
  'overloaded',
  'malformed',
  'closed',
]);

/** The one error of a connector. Its message says who was asked, what came and what to do. */
export class TeacherError extends Error {
  override readonly name = 'TeacherError';
  /** The message without the teacher's own words. */
  readonly summary: string;
  /** What the teacher said itself, which may repeat what it was asked; empty where nothing. */
  readonly words: string;
  readonly failure: TeacherFailure;
  /** True when another attempt may succeed. */
  readonly retryable: boolean;
  /** How long the teacher asked to be left alone (Retry-After), where it said so. */
  readonly retryAfterMs: number | undefined;
  /** What the failed call cost all the same (a truncated answer is paid for); 0 where nothing was spent. */
  readonly spentUsd: number;
  /** True where nobody knows whether the call was charged: then `spentUsd` is the most that it can have cost. */
  readonly unsettled: boolean;

  constructor(
    failure: TeacherFailure,
    message: string,
    details: { cause?: unknown; words?: string; retryAfterMs?: number; spentUsd?: number; unsettled?: boolean } = {},
  ) {
    const { words = '' } = details;
    super(
      words === '' ? message : `${message}: ${words}`,
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.summary = message;
    this.words = words;
    this.failure = failure;
    this.retryable = RETRYABLE.has(failure);
    this.retryAfterMs = details.retryAfterMs;
    this.spentUsd = details.spentUsd ?? 0;
    this.unsettled = details.unsettled ?? false;
  }
}
