import type { Event } from '@understudy/service/bus/settle';
import type { PromptContext } from './context.ts';
import { newPairsOccasion, retrain } from './retrain.ts';

/** Enough pairs have come beside those that the serving student learnt from: another one is made of all of them, where the task's policy says so. */
export async function onPairsGathered(context: PromptContext, event: Event<'pairs.gathered'>): Promise<void> {
  const { task, servingGeneration, times, reason } = event.payload;
  const newest = await context.tasks.newest(task);
  if (newest) await retrain(context, newest, newPairsOccasion(servingGeneration, times), reason);
}
