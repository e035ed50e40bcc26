import type { Event } from '@understudy/service/bus/settle';
import { begin } from './begin.ts';
import type { PromptContext } from './context.ts';
import { onRunFact } from './on-run-fact.ts';
import { isRunId } from './run-store.ts';

/**
 * Counts a batch that an outside program closed. A program that never asked for its run, or whose request is still on
 * its way, gets one here: from now on the run is followed to its verdict like any other.
 */
export async function onBatchClosed(context: PromptContext, event: Event<'batch.closed'>): Promise<void> {
  const { runId, task, taskDigest } = event.payload;
  if (isRunId(runId) && (await context.runStore.get(runId)) === undefined) {
    const compiled = await context.tasks.byDigest(taskDigest);
    if (compiled?.task.name === task) {
      await begin(context, compiled, { runId, ownPrompts: true, traceparent: event.traceparent });
    }
  }
  await onRunFact(context, event);
}
