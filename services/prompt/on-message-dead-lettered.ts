import { type ConsumerName, consumers, parseCeType } from '@understudy/contract';
import { decodePayload } from '@understudy/service/bus/event';
import type { Event } from '@understudy/service/bus/settle';
import { messageOf, RetryableError, TerminalError } from '@understudy/service/errors';
import type { PromptContext } from './context.ts';
import type { DeadLetterFact } from './run.ts';
import { isAhead } from './run-state.ts';

/** Closes the run whose message was given up on, where nothing else can end its stage. */
export async function onMessageDeadLettered(
  context: PromptContext,
  event: Event<'message.dead-lettered'>,
): Promise<void> {
  const { runId, taskDigest, consumer } = event.payload;
  // What this service lost itself, others have heard all the same.
  if (runId === '' || consumers[consumer as ConsumerName]?.service === 'prompt') return;
  const run = await context.runStore.get(runId);
  const fact = factOf(event);
  if (run === undefined || fact === undefined || run.state.taskDigest !== taskDigest) return;
  const lastChance = event.deliveries >= consumers['prompt-dead-letters'].maxDeliver;
  if (isAhead(run, fact) && !lastChance) {
    throw new RetryableError(`run ${runId} has not reached the stage of the lost ${fact.of} yet`);
  }
  await context.runs.tell(runId, fact);
}

function factOf({ payload: letter }: Event<'message.dead-lettered'>): DeadLetterFact | undefined {
  const type = parseCeType(letter.headers['ce-type'] ?? '')?.type;
  if (type === undefined) return undefined;
  try {
    const lost = decodePayload(type, letter.payload);
    const seal = 'seal' in lost && typeof lost.seal === 'number' ? lost.seal : 0;
    const reportDigest = 'summary' in lost ? (lost.summary?.reportDigest ?? '') : '';
    return { type: 'dead-lettered', of: type, consumer: letter.consumer, reason: letter.reason, seal, reportDigest };
  } catch (error) {
    // What cannot be decoded names no run for certain; the deadline of its stage covers it.
    if (error instanceof TerminalError) return undefined;
    throw new TypeError(`dead letter ${letter.stream}:${letter.streamSequence}: ${messageOf(error)}`, { cause: error });
  }
}
