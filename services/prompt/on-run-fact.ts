import type { Event } from '@understudy/service/bus/settle';
import { TerminalError } from '@understudy/service/errors';
import type { PromptContext } from './context.ts';
import type { BusFact, MovingType } from './run.ts';

/** Moves a run by a fact of another service. Facts of runs that are not ours are nobody's here. */
export async function onRunFact(context: PromptContext, event: Event<MovingType>): Promise<void> {
  const { runId, taskDigest } = event.payload;
  const run = await context.runStore.get(runId);
  if (run === undefined) {
    context.telemetry.log.debug({ runId, type: event.type }, 'fact of an unknown run');
    return;
  }
  if (run.state.taskDigest !== taskDigest) {
    throw new TerminalError(
      `run ${runId} is of task version ${run.state.taskDigest}, got ${event.type} for ${taskDigest}`,
    );
  }
  await context.runs.tell(runId, { type: event.type, payload: event.payload } as BusFact);
}
