import { SpanStatusCode } from '@opentelemetry/api';
import type { TeacherKind } from '@understudy/contract';
import type { Span } from '@understudy/service/telemetry';
import { concurrencyOf } from './config.ts';
import type { GatewayContext } from './context.ts';
import type { Account } from './ledger/account.ts';
import type { Reservation } from './ledger/lease-book.ts';
import { microUsdOf } from './ledger/ledger.ts';
import type { Permits } from './ledger/permits.ts';
import type { Permit } from './ledger/slot-book.ts';
import type { TeacherHealth } from './ledger/teacher-health.ts';
import { AWAY_PATIENCE_MS, LIVE_AWAY_PATIENCE_MS, PERMIT_PATIENCE_MS } from './limits.ts';
import type { Question, Spending } from './outcome.ts';
import { sharesWord } from './shares-word.ts';
import {
  type Teacher,
  TeacherError,
  type TeacherFailure,
  type TeacherReply,
  type TeacherRequest,
} from './teachers/teacher.ts';

/**
 * One call to the teacher: when it may be asked, within budget and rate, no longer than the task allows, settled whatever
 * comes of it. Its place in flight stays taken after an answer, until the question's place is released.
 * @throws TeacherError, TeacherAway, BudgetExhausted, or the reason of a signal that ended the waiting or the call
 */
export const makeCall = async (
  context: GatewayContext,
  question: Question,
  spending: Spending,
): Promise<TeacherReply> => {
  const { known, prompt, account, place, sampleNumber } = question;
  const teacher = await known.teacher();
  const request: TeacherRequest = { text: prompt.text, promptId: prompt.promptId, sampleNumber };
  const bound = teacher.costBound(request);
  const microUsd = microUsdOf(bound.usd);
  const health = context.ledger.healthOf(known.compiled.task);
  const permits = permitsOf(context, question, teacher);
  const { probe, permit, reservation } = await admitted(health, permits, question, { microUsd, tokens: bound.tokens });
  spending.calls += 1;
  const call: Call = {
    ...{ teacher, request, bound: microUsd, spent: microUsd, unsettled: true, tokens: permit.tokens },
    startedMs: performance.now(),
  };
  place.keep(() => permits.release());
  let telling: Promise<void> | undefined;
  try {
    const reply = await traced(context, question, call);
    await health.succeeded(probe);
    return reply;
  } catch (error) {
    // First, so that nobody takes the place before the bad news holds.
    telling = error instanceof TeacherError ? health.failed(troubleOf(error, prompt.text), probe) : undefined;
    place.release();
    throw error;
  } finally {
    if (call.unsettled) account.leaveUnsettled(reservation);
    else account.settle(reservation, call.spent);
    permits.settle(permit, call.tokens);
    spending.microUsd += call.spent;
    if (probe && call.unsettled && !telling) await health.dropped();
    await telling;
  }
};

/** What everybody is told of it, in the ledger and in logs, which nobody erases: the teacher's own words only where they are not the input's. */
const troubleOf = ({ failure, message, summary, words, retryAfterMs }: TeacherError, text: string) => ({
  failure,
  detail: sharesWord(words, text) ? `${summary}, in words of what it was asked` : message,
  retryAfterMs,
});

/** The most that a call can take of the budget and of the rate. */
interface Bound {
  microUsd: number;
  tokens: number;
}

/** What a call begins with: `probe` when it decides whether others may call too. */
interface Admission {
  probe: boolean;
  permit: Permit;
  reservation: Reservation;
}

/** Waits until the teacher may be asked, and for a permit and a reservation; bad news that comes meanwhile is heeded. */
const admitted = async (
  health: TeacherHealth,
  permits: Permits,
  question: Question,
  bound: Bound,
): Promise<Admission> => {
  for (;;) {
    const patienceMs = question.live ? LIVE_AWAY_PATIENCE_MS : AWAY_PATIENCE_MS;
    const { probe } = await health.admit(question.waiting, patienceMs);
    try {
      const taken = await permitted(permits, question, bound);
      if (probe || !health.blockage) return { probe, ...taken };
      question.account.cancel(taken.reservation);
      permits.settle(taken.permit, 0);
      permits.release();
    } catch (error) {
      if (probe) await health.dropped();
      throw error;
    }
  }
};

/**
 * A permit and a reservation. The permit comes first, so that no more of the budget is reserved than is called; but one
 * that would have to wait for the budget goes back meanwhile, because others may have a budget that has room.
 */
const permitted = async (
  permits: Permits,
  { account, waiting }: Question,
  { microUsd, tokens }: Bound,
): Promise<Omit<Admission, 'probe'>> => {
  let permit = await permits.acquire(waiting, tokens);
  const reserved = account.reserveNow(microUsd);
  if (reserved) return { permit, reservation: reserved };
  let held = true;
  const giveBack = () => {
    held = false;
    permits.settle(permit, 0);
    permits.release();
  };
  const impatience = setTimeout(giveBack, PERMIT_PATIENCE_MS);
  try {
    const reservation = await account.reserve(microUsd, waiting);
    if (!held) {
      permit = await permits.acquire(waiting, tokens).catch((reason) => abandon(account, reservation, reason));
    }
    return { permit, reservation };
  } catch (error) {
    if (held) giveBack();
    throw error;
  } finally {
    clearTimeout(impatience);
  }
};

const abandon = (account: Account, reservation: Reservation, reason: unknown): never => {
  account.cancel(reservation);
  throw reason;
};

interface Call {
  teacher: Teacher;
  request: TeacherRequest;
  /** The most that it can cost, in millionths of a US dollar. */
  bound: number;
  /** What it cost; the bound until that is known. */
  spent: number;
  /** Nobody knows what it cost: not yet, or never. */
  unsettled: boolean;
  /** What it counts for in the tokens per minute; the most that it can use until that is known. */
  tokens: number;
  startedMs: number;
}

const permitsOf = ({ ledger, config }: GatewayContext, { known }: Question, teacher: Teacher): Permits => {
  const { name, teacher: settings } = known.compiled.task;
  const wants = Math.min(concurrencyOf(config, settings.kind), teacher.maxConcurrency);
  // A model on the bus finishes what it was asked although nobody waits any more; a connection or thread ends with us.
  const outliveMs = settings.kind === 'nats' ? settings.timeoutMs : 0;
  return ledger.permits(name, settings.rate, wants, outliveMs);
};

/** With a span after the conventions for generative AI (https://opentelemetry.io/docs/specs/semconv/gen-ai/), where traced. */
const traced = async (context: GatewayContext, question: Question, call: Call): Promise<TeacherReply> => {
  const { traceparent } = question;
  if (traceparent === undefined) return counted(context, question, call);
  const { teacher } = question.known.compiled.task;
  const attributes = {
    'gen_ai.operation.name': 'chat',
    'gen_ai.provider.name': vendors.has(teacher.kind) ? teacher.kind : `understudy.${teacher.kind}`,
    'gen_ai.request.model': teacher.model,
    'gen_ai.output.type': 'json',
    ...(teacher.kind === 'openai'
      ? {
          'gen_ai.request.temperature': teacher.temperature,
        }
      : {}),
    ...('baseUrl' in teacher
      ? {
          'gen_ai.request.max_tokens': teacher.maxOutputTokens,
          'server.address': new URL(teacher.baseUrl).hostname,
        }
      : {}),
  };
  const span = context.telemetry.startSpan(`chat ${teacher.model}`, traceparent, attributes);
  try {
    const reply = await counted(context, question, call);
    span.setAttributes({
      'gen_ai.response.model': reply.model,
      'gen_ai.usage.input_tokens': reply.usage.inputTokens,
      'gen_ai.usage.output_tokens': reply.usage.outputTokens,
    });
    return reply;
  } catch (error) {
    failSpan(span, error);
    throw error;
  } finally {
    span.end();
  }
};

/** Kinds that are also the convention's names of a provider. */
const vendors: ReadonlySet<TeacherKind> = new Set(['openai', 'anthropic']);

const failSpan = (span: Span, error: unknown) => {
  const failure = error instanceof TeacherError ? error.failure : 'stopped';
  span.setAttribute('error.type', failure);
  span.setStatus({ code: SpanStatusCode.ERROR, message: failure });
};

/** Refusals that come before a model reads anything. */
const untouched: ReadonlySet<TeacherFailure> = new Set(['unreachable', 'rate-limited', 'overloaded', 'unauthorized']);

const counted = async (context: GatewayContext, question: Question, call: Call): Promise<TeacherReply> => {
  const { kind } = question.known.compiled.task.teacher;
  let result = 'stopped';
  try {
    const reply = await bounded(question, call);
    const { spentUsd, inputTokens, outputTokens } = reply.usage;
    call.spent = microUsdOf(spentUsd);
    call.unsettled = false;
    // A server that counts none is believed to have used what it could.
    if (inputTokens + outputTokens > 0) call.tokens = inputTokens + outputTokens;
    result = 'answered';
    return reply;
  } catch (error) {
    if (error instanceof TeacherError) {
      call.spent = microUsdOf(error.spentUsd);
      call.unsettled = error.unsettled;
      if (!error.unsettled && untouched.has(error.failure)) call.tokens = 0;
      result = error.failure;
    }
    throw error;
  } finally {
    context.events.called(kind, result, performance.now() - call.startedMs, call.spent);
  }
};

/** Ends a call that takes too long, or that nobody waits for any more. */
const bounded = async ({ known, stopping }: Question, { teacher, request, bound }: Call): Promise<TeacherReply> => {
  const { timeoutMs } = known.compiled.task.teacher;
  const ending = new AbortController();
  const timer = setTimeout(() => ending.abort(timedOut(teacher, timeoutMs, bound)), timeoutMs);
  const stop = () => ending.abort(stopping.reason);
  stopping.addEventListener('abort', stop, { once: true });
  try {
    return await teacher.answer(request, ending.signal);
  } finally {
    clearTimeout(timer);
    stopping.removeEventListener('abort', stop);
  }
};

/** Nobody knows what a call cost whose answer did not come: the most that it can. */
const timedOut = ({ model }: Teacher, timeoutMs: number, bound: number) =>
  new TeacherError('timeout', `${model} gave no answer within ${timeoutMs} ms (teacher.timeoutMs)`, {
    spentUsd: bound / 1e6,
    unsettled: true,
  });
