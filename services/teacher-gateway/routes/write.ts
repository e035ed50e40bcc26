import type { MessageInitShape } from '@bufbuild/protobuf';
import { DeclineReason } from '@understudy/contract';
import type { WriteRequest, WriteResponseSchema } from '@understudy/contract/teacher-gateway';
import type { CallContext } from '@understudy/service/rpc/server';
import { failedPrecondition, invalidArgument } from '@understudy/service/rpc/status';
import { sha256Hex } from '@understudy/task';
import { reasonOf } from '../ask-teacher.ts';
import type { AnsweringContext } from '../context.ts';
import { BudgetExhausted } from '../ledger/account.ts';
import { TeacherAway } from '../ledger/teacher-health.ts';
import { MAX_DETAIL_CHARACTERS, MAX_INPUTS_PER_ANSWER, MAX_WRITING_CHARACTERS } from '../limits.ts';
import { makeCall } from '../make-call.ts';
import { HeldPlace, type Question, type Spending } from '../outcome.ts';
import { RunCancelled } from '../run-scopes.ts';
import { TeacherError } from '../teachers/teacher.ts';

type Answered = MessageInitShape<typeof WriteResponseSchema>;

/** Teachers that can write a text of their own. */
const WRITERS: ReadonlySet<string> = new Set(['openai', 'anthropic', 'nats']);

/**
 * Has a task's teacher write inputs, out of the budget of a run: one call. Whoever asks decides whether a failed one is worth
 * another, and makes sense of what was written.
 */
export const write = async (context: AnsweringContext, request: WriteRequest, call: CallContext): Promise<Answered> => {
  const known = await context.tasks.get(request.task, request.taskDigest);
  const { task } = known.compiled;
  const { kind } = task.teacher;
  if (!WRITERS.has(kind)) throw failedPrecondition(`a teacher of the kind ${kind} cannot write inputs`);
  if (!context.config.TEACHER_KINDS.includes(kind)) {
    throw failedPrecondition(`this teacher-gateway asks no teachers of the kind ${kind} (TEACHER_KINDS)`);
  }
  checkRequest(request);
  const writer = known.writer(request);
  const spending: Spending = { calls: 0, microUsd: 0 };
  const place = new HeldPlace();
  const cancelled = context.scopes.enter(request.runId);
  const ended = AbortSignal.any([cancelled, call.signal]);
  const promptId = sha256Hex(`${task.name}\nwrite\n${request.instructions}\n${request.text}`);
  const question: Question = {
    known: writer,
    prompt: { promptId, inputJson: '', text: request.text },
    sampleNumber: 0,
    key: `write ${promptId}`,
    cacheable: false,
    live: false,
    payer: request.runId,
    account: context.ledger.ofRun(known.compiled, request.runId),
    waiting: ended,
    stopping: ended,
    place,
    traceparent: undefined,
  };
  try {
    const { content, model, usage } = await makeCall(context, question, spending);
    return { outcome: { case: 'written', value: { content, model } }, usage: used(spending, usage) };
  } catch (error) {
    const { reason, detail } = declineOf(error);
    context.events.declined(kind, reason, { promptId, detail, live: false });
    return { outcome: { case: 'declined', value: { reason, detail } }, usage: used(spending) };
  } finally {
    place.release();
    context.scopes.leave(request.runId);
    await writer.close();
  }
};

const checkRequest = ({ runId, instructions, text, inputs }: WriteRequest): void => {
  if (runId === '') throw invalidArgument('run_id: expected who pays, came nothing');
  if (inputs < 1 || inputs > MAX_INPUTS_PER_ANSWER) {
    throw invalidArgument(`inputs: expected 1 to ${MAX_INPUTS_PER_ANSWER}, came ${inputs}`);
  }
  const characters = instructions.length + text.length;
  if (characters === 0 || characters > MAX_WRITING_CHARACTERS) {
    throw invalidArgument(
      `instructions and text: expected 1 to ${MAX_WRITING_CHARACTERS} characters, came ${characters}`,
    );
  }
};

const used = (spending: Spending, tokens = { inputTokens: 0, outputTokens: 0 }) => ({
  inputTokens: BigInt(tokens.inputTokens),
  outputTokens: BigInt(tokens.outputTokens),
  spentMicroUsd: BigInt(spending.microUsd),
  calls: spending.calls,
});

/** Throws on what is no failure of the call. */
const declineOf = (error: unknown): { reason: DeclineReason; detail: string } => {
  if (error instanceof BudgetExhausted) return { reason: DeclineReason.BUDGET, detail: error.message };
  if (error instanceof RunCancelled) return { reason: DeclineReason.CANCELLED, detail: error.message };
  if (!(error instanceof TeacherError || error instanceof TeacherAway)) throw error;
  return { reason: reasonOf(error.failure), detail: error.message.slice(0, MAX_DETAIL_CHARACTERS) };
};
