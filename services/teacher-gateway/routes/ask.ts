import type { MessageInitShape } from '@bufbuild/protobuf';
import { Purpose, Source } from '@understudy/contract';
import type { AskRequest, AskResponseSchema } from '@understudy/contract/teacher-gateway';
import { RetryableError } from '@understudy/service/errors';
import type { CallContext } from '@understudy/service/rpc/server';
import { failedPrecondition, invalidArgument } from '@understudy/service/rpc/status';
import { isSampled, traceparentOf } from '@understudy/service/telemetry';
import { ASK_ORIGIN, InputError, type RenderedPrompt } from '@understudy/task';
import type { AnsweringContext } from '../context.ts';
import type { KnownTask } from '../known-tasks.ts';
import { LIVE_RETRY_AFTER_MS, MAX_LIVE_REQUESTS } from '../limits.ts';
import { HeldPlace, isCacheable, pairOf, type Question, questionKey } from '../outcome.ts';

type Answered = MessageInitShape<typeof AskResponseSchema>;

/** Asks a task's teacher at once, out of the live budget or that of the run it is for. */
export const ask = async (context: AnsweringContext, request: AskRequest, call: CallContext): Promise<Answered> => {
  const known = await context.tasks.get(request.task, request.taskDigest);
  const { kind } = known.compiled.task.teacher;
  if (!context.config.TEACHER_KINDS.includes(kind)) {
    throw failedPrecondition(`this teacher-gateway asks no teachers of the kind ${kind} (TEACHER_KINDS)`);
  }
  if (request.purpose === Purpose.UNSPECIFIED) throw invalidArgument('purpose: expected why the teacher is asked');
  const prompt = promptOf(known, request.inputJson);
  if (context.live.requests >= MAX_LIVE_REQUESTS) {
    throw new RetryableError(`${MAX_LIVE_REQUESTS} live requests are under way`, { afterMs: LIVE_RETRY_AFTER_MS });
  }
  context.live.requests += 1;
  try {
    return await traced(context, request, known, prompt, call);
  } finally {
    context.live.requests -= 1;
  }
};

const promptOf = ({ compiled }: KnownTask, inputJson: string): RenderedPrompt => {
  try {
    return compiled.renderPrompt(JSON.parse(inputJson));
  } catch (error) {
    if (error instanceof InputError || error instanceof SyntaxError)
      throw invalidArgument(`input_json: ${error.message}`);
    throw error;
  }
};

const traced = (
  context: AnsweringContext,
  request: AskRequest,
  known: KnownTask,
  prompt: RenderedPrompt,
  call: CallContext,
): Promise<Answered> => {
  if (!isSampled(call.traceparent)) return answer(context, request, known, prompt, call.signal, undefined);
  return context.telemetry.span('answer live', call.traceparent, { 'understudy.prompt_id': prompt.promptId }, (span) =>
    answer(context, request, known, prompt, call.signal, traceparentOf(span)),
  );
};

/** Asked to look after a student or its teacher, for no client. */
const isCheck = (purpose: Purpose): boolean => purpose === Purpose.AUDIT || purpose === Purpose.CANARY;

/** Who pays: the run it is for, the task's checks, or its clients. */
const payment = (
  ledger: AnsweringContext['ledger'],
  compiled: KnownTask['compiled'],
  purpose: Purpose,
  runId: string,
): Pick<Question, 'payer' | 'account'> => {
  if (runId !== '') return { payer: runId, account: ledger.ofRun(compiled, runId) };
  const { task } = compiled;
  if (isCheck(purpose)) return { payer: 'audit', account: ledger.ofAudits(task) };
  return { payer: 'live', account: ledger.ofLive(task) };
};

const answer = async (
  { answers, ledger, events, scopes }: AnsweringContext,
  { purpose, runId }: AskRequest,
  known: KnownTask,
  prompt: RenderedPrompt,
  signal: AbortSignal,
  traceparent: string | undefined,
): Promise<Answered> => {
  const { task } = known.compiled;
  const cacheable = isCacheable(purpose);
  const place = new HeldPlace();
  const ended = runId === '' ? signal : AbortSignal.any([signal, scopes.enter(runId)]);
  const question: Question = {
    known,
    prompt,
    sampleNumber: 0,
    key: questionKey(known, prompt, 0, cacheable ? '' : crypto.randomUUID()),
    cacheable,
    live: true,
    ...payment(ledger, known.compiled, purpose, runId),
    waiting: ended,
    stopping: ended,
    place,
    traceparent,
  };
  const outcome = await answers.get(question).finally(() => {
    place.release();
    if (runId !== '') scopes.leave(runId);
  });
  if (outcome.kind === 'declined') {
    const { reason, detail } = outcome;
    events.declined(task.teacher.kind, reason, { promptId: prompt.promptId, detail, live: true });
    return { outcome: { case: 'declined', value: { reason, detail } } };
  }
  events.answered(task.teacher.kind, outcome.cached);
  const told = { sampleNumber: 0, purpose, source: Source.TRAFFIC, origin: ASK_ORIGIN, weight: 1 };
  return { outcome: { case: 'pair', value: pairOf(outcome.answer, prompt, told) }, cached: outcome.cached };
};
