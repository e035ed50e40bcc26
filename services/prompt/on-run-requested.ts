import type { Event } from '@understudy/service/bus/settle';
import { TerminalError } from '@understudy/service/errors';
import { begin, objectionTo, refuse } from './begin.ts';
import type { PromptContext } from './context.ts';
import { isRunId } from './run-store.ts';

/** Starts a run that an event asks for. What cannot be run gets a verdict too: the asker listens for run.finished. */
export async function onRunRequested(context: PromptContext, event: Event<'run.requested'>): Promise<void> {
  const { runId, task, taskDigest, ownPrompts } = event.payload;
  if (!isRunId(runId)) {
    throw new TerminalError(`run_id: expected 1 to 64 of A-Z, a-z, 0-9, _ and -, got ${JSON.stringify(runId)}`);
  }
  if ((await context.runStore.get(runId)) !== undefined) return;
  const request = { runId, ownPrompts, traceparent: event.traceparent };
  const compiled = await context.tasks.byDigest(taskDigest);
  if (compiled?.task.name !== task) {
    const reason = `no version ${taskDigest} of task ${task} is known: apply the task first`;
    await refuse(context, { task, taskDigest }, request, reason);
    return;
  }
  const objection = await objectionTo(context, compiled, ownPrompts);
  if (objection === undefined) await begin(context, compiled, request);
  else await refuse(context, { task, taskDigest }, request, objection);
}
