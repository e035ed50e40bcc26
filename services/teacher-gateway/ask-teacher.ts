import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { DeclineReason, UsageSchema } from '@understudy/contract';
import { RetryableError } from '@understudy/service/errors';
import { type AnswerErrorReason, pairId } from '@understudy/task';
import type { GatewayContext } from './context.ts';
import { BudgetExhausted } from './ledger/account.ts';
import { isTelling } from './ledger/health.ts';
import { TeacherAway } from './ledger/teacher-health.ts';
import {
  AWAY_DELAY_SHARE,
  FIRST_BACKOFF_MS,
  MAX_AWAY_DELAY_MS,
  MAX_BACKOFF_MS,
  MAX_DETAIL_CHARACTERS,
  MIN_AWAY_DELAY_MS,
} from './limits.ts';
import { makeCall } from './make-call.ts';
import { type Answer, distributionsOf, type Outcome, type Question, type Spending } from './outcome.ts';
import { RunCancelled } from './run-scopes.ts';
import { softFromSamples, softLabelsFault } from './teachers/soft-labels.ts';
import { TeacherError, type TeacherFailure, type TeacherReply } from './teachers/teacher.ts';

/** Why an attempt gave no answer, in the words of a decline. */
interface Failure {
  reason: DeclineReason;
  detail: string;
  retryable: boolean;
  /** It was a call that failed, which may have been the teacher's fault rather than the prompt's. */
  ofTeacher: boolean;
  /** What was wrong with an answer that came. */
  invalid?: AnswerErrorReason | 'soft-labels';
}

/**
 * Asks until there is a valid answer, or no further attempt is worth making. Every attempt takes a permit and a
 * reservation of its own. Where the teacher turns out to be away, an attempt says nothing about the prompt and does not count.
 * Throws the reason of a signal that ends the waiting, other than a cancelled run, and RetryableError where the prompt
 * had better wait on the bus until the teacher is back.
 */
export const askTeacher = async (context: GatewayContext, question: Question): Promise<Outcome> => {
  const { task } = question.known.compiled;
  const { maxRetries } = task.teacher;
  const spending: Spending = { calls: 0, microUsd: 0 };
  for (let attempt = 1; ; attempt += 1) {
    const tried = await attemptOf(context, question, spending);
    if ('answer' in tried) {
      const answer = await withSamples(context, question, tried.answer, spending);
      return { kind: 'answered', answer, cached: false };
    }
    question.place.release();
    if (tried.ofTeacher && context.ledger.healthOf(task).blockage?.open) {
      attempt -= 1;
      continue;
    }
    if (tried.invalid) context.events.answerRefused(task.teacher.kind, tried.invalid);
    const waitMs = backoffMs(attempt);
    if (!tried.retryable || attempt > maxRetries) return declinedOf(tried, spending);
    context.events.attemptFailed({ promptId: question.prompt.promptId, attempt, detail: tried.detail, waitMs });
    const stopped = await sleep(waitMs, question.waiting);
    if (stopped) return declinedOf(stopped, spending);
  }
};

/**
 * An answer with the distribution of as many as the task wants of each prompt, itself the first. Further ones are asked one
 * after the other, each within budget and rate. Where some cannot be had, those that are there count: the answer is paid.
 */
const withSamples = async (
  context: GatewayContext,
  question: Question,
  answer: Answer,
  spending: Spending,
): Promise<Answer> => {
  const { known, prompt, live, cacheable } = question;
  const { teacher } = known.compiled.task;
  const samples = 'samples' in teacher ? (teacher.samples ?? 1) : 1;
  // Questions of other purposes are about one answer, and a teacher's own probabilities are better than counts.
  if (samples < 2 || live || !cacheable || answer.soft.length > 0) return answer;
  const answers = [answer.answerJson];
  const further = () => attemptOf(context, { ...question, sampleNumber: answers.length }, spending);
  for (let failures = 0; answers.length < samples && failures <= teacher.maxRetries; ) {
    const tried = await further().catch((error) => endedEarly(error, question));
    if (tried && 'answer' in tried && tried.answer.fingerprint === answer.fingerprint) {
      answers.push(tried.answer.answerJson);
      continue;
    }
    failures += 1;
    if (!tried || 'answer' in tried || !tried.retryable) break;
    const stopped = await sleep(backoffMs(failures), question.waiting).catch((error) => endedEarly(error, question));
    if (stopped || question.waiting.aborted) break;
  }
  const soft = answers.length < 2 ? {} : softFromSamples(answers, known.compiled.output, prompt.text);
  const spent = { spentMicroUsd: BigInt(spending.microUsd), calls: spending.calls };
  const usage = answer.usage && { ...answer.usage, ...spent };
  return { ...answer, soft: distributionsOf(soft), ...(usage ? { usage } : {}) };
};

/** What had better be tried later, or is over, ends the sampling; all else is thrown on. */
const endedEarly = (error: unknown, { waiting, stopping }: Question): undefined => {
  if (error instanceof RetryableError || waiting.aborted || stopping.aborted) return undefined;
  throw error;
};

const attemptOf = async (
  context: GatewayContext,
  question: Question,
  spending: Spending,
): Promise<{ answer: Answer } | Failure> => {
  try {
    const reply = await makeCall(context, question, spending);
    return await answerOf(question, reply, spending);
  } catch (error) {
    if (error instanceof TeacherAway) return awayOf(context, question, error);
    return failureOf(error);
  }
};

/** Parses and validates a reply; what does not fit the task's schema is a failed attempt. */
const answerOf = async (
  { known, prompt, sampleNumber }: Question,
  reply: TeacherReply,
  spending: Spending,
): Promise<{ answer: Answer } | Failure> => {
  const { compiled } = known;
  const parsed = compiled.parseAnswer(reply.content, prompt.text);
  if (!parsed.ok && reply.cutOff) return cutOff(reply);
  if (!parsed.ok) return invalid(parsed.reason, parsed.message);
  const { soft = {} } = reply;
  const fault = softLabelsFault(soft, compiled.output.heads);
  if (fault) return invalid('soft-labels', fault);
  const fingerprint = await known.fingerprintOf({
    model: reply.model,
    ...(reply.version === undefined ? {} : { version: reply.version }),
  });
  const { inputTokens, outputTokens, durationMs } = reply.usage;
  const answer: Answer = {
    pairId: pairId(prompt.promptId, fingerprint, sampleNumber),
    fingerprint,
    answerJson: parsed.answer,
    soft: distributionsOf(soft),
    answeredAt: timestampFromMs(Date.now()),
    usage: create(UsageSchema, {
      inputTokens: BigInt(inputTokens),
      outputTokens: BigInt(outputTokens),
      spentMicroUsd: BigInt(spending.microUsd),
      durationUs: BigInt(Math.round(durationMs * 1_000)),
      calls: spending.calls,
    }),
  };
  return { answer };
};

const invalid = (fault: AnswerErrorReason | 'soft-labels', detail: string): Failure => ({
  reason: DeclineReason.INVALID_ANSWER,
  detail: `${fault}: ${detail}`,
  invalid: fault,
  retryable: true,
  ofTeacher: false,
});

/** It would be cut off again. */
const cutOff = ({ model, content }: TeacherReply): Failure => ({
  reason: DeclineReason.REJECTED,
  detail: `${model} was cut off after ${content.length} characters; raise teacher.maxOutputTokens`,
  retryable: false,
  ofTeacher: false,
});

const final = (reason: DeclineReason, { message }: Error): Failure => ({
  reason,
  detail: message,
  retryable: false,
  ofTeacher: false,
});

const reasons: Partial<Record<TeacherFailure, DeclineReason>> = {
  unauthorized: DeclineReason.UNAUTHORIZED,
  rejected: DeclineReason.REJECTED,
};

/** Why a prompt is declined after such a failure. */
export const reasonOf = (failure: TeacherFailure): DeclineReason => reasons[failure] ?? DeclineReason.UNAVAILABLE;

/**
 * How long a prompt stays on the bus at least.
 * @param awayMs how long its teacher has been away
 * @param waitMs until that may be asked at the earliest
 */
export const awayDelayMs = (awayMs: number, waitMs: number): number =>
  Math.min(Math.max(waitMs, awayMs * AWAY_DELAY_SHARE, MIN_AWAY_DELAY_MS), MAX_AWAY_DELAY_MS);

/** A prompt waits on the bus while its teacher is away, up to a limit; somebody who is there is told at once. */
const awayOf = ({ config }: GatewayContext, { live }: Question, away: TeacherAway): Failure => {
  const { failure, waitMs, awayMs, message } = away;
  if (live || Math.max(awayMs, waitMs) >= config.OUTAGE_PATIENCE_MS) return final(reasonOf(failure), away);
  throw new RetryableError(message, { afterMs: awayDelayMs(awayMs, waitMs) * (1 + Math.random() / 4) });
};

/** Throws on what is no failure of the attempt. */
const failureOf = (error: unknown): Failure => {
  if (error instanceof BudgetExhausted) return final(DeclineReason.BUDGET, error);
  if (error instanceof RunCancelled) return final(DeclineReason.CANCELLED, error);
  if (!(error instanceof TeacherError)) throw error;
  const { failure, message: detail, retryable } = error;
  return { reason: reasonOf(failure), detail, retryable, ofTeacher: isTelling(failure) };
};

const declinedOf = ({ reason, detail }: Failure, spending: Spending): Outcome => ({
  kind: 'declined',
  reason,
  detail: detail.slice(0, MAX_DETAIL_CHARACTERS),
  spending,
});

/** Doubled each time, shortened at random so that prompts which failed together do not come back together. */
const backoffMs = (attempt: number): number => {
  const longest = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (attempt - 1));
  return longest * (0.5 + Math.random() / 2);
};

/** Undefined when the time is over; a failure when the run was cancelled meanwhile. */
const sleep = async (ms: number, signal: AbortSignal): Promise<Failure | undefined> => {
  try {
    await delay(ms, undefined, { signal });
    return undefined;
  } catch {
    return failureOf(signal.reason);
  }
};
