import type { PayloadOf } from '@understudy/contract';
import { mayQuoteInput } from '@understudy/task/forgotten-events';
import type { AnsweringContext } from './context.ts';
import type { KnownTask } from './known-tasks.ts';
import type { Decline, PairInit } from './outcome.ts';

type Prompt = PayloadOf<'prompt.submitted'>;

/** What comes of a prompt: a pair, or why there is none. */
export type PromptOutcome = { kind: 'answered'; pair: PairInit; cached: boolean } | Decline;

/** Tells the platform what came of a prompt; resolves when the bus has stored it. */
export const publishOutcome = async (
  context: AnsweringContext,
  payload: Prompt,
  known: KnownTask,
  outcome: PromptOutcome,
  traceparent: string | undefined,
): Promise<void> => {
  const { kind } = known.compiled.task.teacher;
  if (outcome.kind === 'answered') {
    await publishAnswer(context, payload, outcome.pair, outcome.cached, traceparent);
    context.events.answered(kind, outcome.cached);
    return;
  }
  await publishDecline(context, payload, outcome, traceparent);
  const { promptId, runId } = payload;
  const { reason, detail, spending } = outcome;
  const facts = { runId, promptId, attempts: spending.calls, ...(mayQuoteInput(reason) ? {} : { detail }) };
  context.events.declined(kind, reason, facts);
};

const publishAnswer = (
  { publisher }: AnsweringContext,
  { runId, task, taskDigest, batch }: Prompt,
  pair: PairInit,
  cached: boolean,
  traceparent: string | undefined,
): Promise<void> =>
  publisher.publish({
    type: 'teacher.answered',
    entity: `${pair.pairId}:${batch}`,
    traceparent,
    payload: { runId, task, taskDigest, batch, cached, pair },
  });

const publishDecline = (
  { publisher }: AnsweringContext,
  { runId, task, taskDigest, batch, promptId, sampleNumber }: Prompt,
  { reason, detail, spending }: Decline,
  traceparent: string | undefined,
): Promise<void> =>
  publisher.publish({
    type: 'teacher.declined',
    entity: `${promptId}:${sampleNumber}:${batch}`,
    traceparent,
    payload: {
      ...{ runId, task, taskDigest, batch, promptId, sampleNumber, reason, detail },
      attempts: spending.calls,
      usage: { calls: spending.calls, spentMicroUsd: BigInt(spending.microUsd) },
    },
  });
