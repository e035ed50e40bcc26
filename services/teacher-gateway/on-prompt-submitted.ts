import { DeclineReason, type PayloadOf, Purpose } from '@understudy/contract';
import type { Event } from '@understudy/service/bus/settle';
import { TerminalError } from '@understudy/service/errors';
import { isSampled, traceparentOf } from '@understudy/service/telemetry';
import { InputError, type RenderedPrompt } from '@understudy/task';
import type { AnsweringContext } from './context.ts';
import type { KnownTask } from './known-tasks.ts';
import { type Decline, HeldPlace, isCacheable, pairOf, type Question, questionKey } from './outcome.ts';
import { type PromptOutcome, publishOutcome } from './publish-outcome.ts';
import { RunCancelled } from './run-scopes.ts';

type Prompt = PayloadOf<'prompt.submitted'>;

/** Gets an answer for one prompt and publishes it, or why there is none. */
export const onPromptSubmitted = async (context: AnsweringContext, event: Event<'prompt.submitted'>): Promise<void> => {
  const { payload, traceparent } = event;
  const known = await context.tasks.get(payload.task, payload.taskDigest);
  if (!isSampled(traceparent)) return answerAndPublish(context, event, known, traceparent, undefined);
  const attributes = { 'understudy.run_id': payload.runId, 'understudy.prompt_id': payload.promptId };
  await context.telemetry.span('answer prompt', traceparent, attributes, (span) =>
    answerAndPublish(context, event, known, traceparentOf(span), traceparentOf(span)),
  );
};

const answerAndPublish = async (
  context: AnsweringContext,
  { payload, signal }: Event<'prompt.submitted'>,
  known: KnownTask,
  publishedUnder: string | undefined,
  tracedUnder: string | undefined,
): Promise<void> => {
  const place = new HeldPlace();
  try {
    const outcome = await outcomeOf(context, payload, known, { place, stopping: signal, traceparent: tracedUnder });
    await publishOutcome(context, payload, known, outcome, publishedUnder);
  } finally {
    place.release();
  }
};

const outcomeOf = async (
  context: AnsweringContext,
  payload: Prompt,
  known: KnownTask,
  call: Pick<Question, 'place' | 'stopping' | 'traceparent'>,
): Promise<PromptOutcome> => {
  const prompt = promptOf(known, payload);
  if (typeof prompt === 'string') return declined(DeclineReason.INVALID_PROMPT, prompt);
  const { runId, sampleNumber, purpose } = payload;
  const waiting = context.scopes.enter(runId);
  try {
    if (waiting.reason instanceof RunCancelled) return declined(DeclineReason.CANCELLED, waiting.reason.message);
    const cacheable = isCacheable(purpose);
    const outcome = await context.answers.get({
      known,
      prompt,
      sampleNumber,
      key: questionKey(known, prompt, sampleNumber, cacheable ? '' : `${runId} ${purpose}`),
      cacheable,
      live: false,
      payer: runId,
      account: context.ledger.ofRun(known.compiled, runId),
      waiting,
      ...call,
    });
    if (outcome.kind === 'declined') return outcome;
    return { kind: 'answered', pair: pairOf(outcome.answer, prompt, payload), cached: outcome.cached };
  } finally {
    context.scopes.leave(runId);
  }
};

const idPattern = /^[0-9a-f]{64}$/;

/** The prompt, or why it is none of this task. A prompt without an id has no outcome that anybody waits for. */
const promptOf = (known: KnownTask, payload: Prompt): RenderedPrompt | string => {
  if (!idPattern.test(payload.promptId)) {
    throw new TerminalError(
      `prompt_id: expected 64 hex digits, came ${JSON.stringify(payload.promptId.slice(0, 100))}`,
    );
  }
  const { compiled } = known;
  if (payload.purpose === Purpose.UNSPECIFIED) return 'purpose: expected why the teacher is asked, came nothing';
  if (payload.referenceJson !== undefined) {
    const reference = compiled.parseAnswer(payload.referenceJson);
    if (!reference.ok) return `reference_json: ${reference.message}`;
  }
  try {
    const prompt = compiled.renderPrompt(JSON.parse(payload.inputJson));
    if (prompt.promptId === payload.promptId) return prompt;
    return `prompt_id: expected ${prompt.promptId}, the digest of task and canonical input, came ${payload.promptId}`;
  } catch (error) {
    if (error instanceof InputError) return `input_json: ${error.message}`;
    if (error instanceof SyntaxError) return `input_json: expected JSON (${error.message})`;
    throw error;
  }
};

const declined = (reason: DeclineReason, detail: string): Decline => ({
  kind: 'declined',
  reason,
  detail,
  spending: { calls: 0, microUsd: 0 },
});
