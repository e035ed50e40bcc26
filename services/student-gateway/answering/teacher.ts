import { DeclineReason, type Pair, Purpose } from '@understudy/contract';
import { TeacherGatewayService } from '@understudy/contract/teacher-gateway';
import { messageOf, RetryableError } from '@understudy/service/errors';
import { createClient, type RpcClient } from '@understudy/service/rpc/client';
import type { Logger } from '@understudy/service/telemetry';
import { mayQuoteInput } from '@understudy/task/forgotten-events';
import { RequestError } from '../errors.ts';
import { budgetRetryAfterMs, maxQueuedTeacherCalls, teacherRetryAfterMs } from '../limits.ts';

export interface TeacherOptions {
  /** `host:port`; without it nobody can be asked. */
  address: string | undefined;
  token: string | undefined;
  timeoutMs: number;
  concurrency: number;
  log: Logger;
}

export interface Question {
  task: string;
  taskDigest: string;
  inputJson: string;
  traceparent: string | undefined;
}

/** The teacher's pair; cached where it was asked for earlier, and not now. */
export interface Taught {
  pair: Pair;
  cached: boolean;
}

type Client = RpcClient<typeof TeacherGatewayService>;

const unavailable = (message: string, retryAfterMs = teacherRetryAfterMs, cause?: unknown) =>
  new RequestError('teacher-unavailable', message, { retryAfterMs, cause });

/** The way to the teacher: so many calls at once, so many waiting, each no longer than its deadline. */
export class Teacher {
  readonly #options: TeacherOptions;
  readonly #client: Client | undefined;
  readonly #waiting = new Set<PromiseWithResolvers<void>>();
  #free: number;

  constructor(options: TeacherOptions) {
    this.#options = options;
    this.#free = options.concurrency;
    const { address, token } = options;
    this.#client = address === undefined ? undefined : createClient(TeacherGatewayService, { address, token });
  }

  /**
   * The teacher's pair for one input.
   * @throws RequestError: teacher-unavailable (nobody can answer now), teacher-failed (no valid answer), bad-request
   */
  async ask(question: Question): Promise<Taught> {
    const client = this.#client;
    if (!client) throw unavailable('this gateway knows no teacher gateway: set TEACHER_GATEWAY_ADDRESS');
    const deadlineMs = Date.now() + this.#options.timeoutMs;
    await this.#enter();
    try {
      return await this.#call(client, question, Math.max(deadlineMs - Date.now(), 1));
    } finally {
      this.#leave();
    }
  }

  close(): void {
    this.#client?.close();
  }

  async #call(client: Client, { traceparent, ...question }: Question, timeoutMs: number): Promise<Taught> {
    const { log } = this.#options;
    try {
      const { outcome, cached } = await client.ask({ ...question, purpose: Purpose.SERVE }, { timeoutMs, traceparent });
      if (outcome.case === 'pair') return { pair: outcome.value, cached };
      if (outcome.case === 'declined') {
        const { reason, detail } = outcome.value;
        const facts = { task: question.task, reason: DeclineReason[reason] };
        log.warn(mayQuoteInput(reason) ? facts : { ...facts, detail }, 'the teacher declined');
        throw declined(reason, detail);
      }
      throw new Error('expected a pair or a reason, got neither');
    } catch (error) {
      if (error instanceof RequestError) throw error;
      log.warn({ task: question.task, error: messageOf(error) }, 'the teacher gateway did not answer');
      const afterMs = error instanceof RetryableError ? Math.max(error.afterMs, teacherRetryAfterMs) : undefined;
      throw unavailable('the teacher cannot be reached now; try again later', afterMs, error);
    }
  }

  async #enter(): Promise<void> {
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    if (this.#waiting.size >= maxQueuedTeacherCalls) {
      throw unavailable(`${maxQueuedTeacherCalls} requests already wait for the teacher; try again later`);
    }
    // Whoever leaves hands its turn over, so that #free stays as it is.
    const turn = Promise.withResolvers<void>();
    const overdue = setTimeout(() => {
      this.#waiting.delete(turn);
      turn.reject(unavailable('the teacher is too busy; try again later'));
    }, this.#options.timeoutMs);
    this.#waiting.add(turn);
    await turn.promise.finally(() => clearTimeout(overdue));
  }

  #leave(): void {
    const [next] = this.#waiting;
    if (!next) {
      this.#free += 1;
      return;
    }
    this.#waiting.delete(next);
    next.resolve();
  }
}

/**
 * Reasons that lie in the request, or in what the teacher made of it; all others are the teacher being away. Clients
 * are told details only of what they can change: a provider's words on credentials or budgets are none of theirs.
 */
const declined = (reason: DeclineReason, detail: string): RequestError => {
  switch (reason) {
    case DeclineReason.INVALID_PROMPT:
    case DeclineReason.REJECTED:
      return new RequestError('bad-request', `the teacher refuses this input: ${detail}`);
    case DeclineReason.INVALID_ANSWER:
      return new RequestError('teacher-failed', 'the teacher gave no valid answer to this input');
    case DeclineReason.BUDGET:
      return unavailable('the budget for the teacher is spent', budgetRetryAfterMs);
    default:
      return unavailable('the teacher cannot answer now; try again later');
  }
};
