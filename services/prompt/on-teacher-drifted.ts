import type { Event } from '@understudy/service/bus/settle';
import { withEpoch } from '@understudy/task';
import type { PromptContext } from './context.ts';
import { retrain } from './retrain.ts';

/**
 * Takes a teacher whose answers have changed for another one: the next epoch of its task, in which nothing counts that it answered before.
 * Then a run, where the policy says so. Told again, or told of an epoch that is over, it changes nothing.
 */
export async function onTeacherDrifted(context: PromptContext, event: Event<'teacher.drifted'>): Promise<void> {
  const { task, epoch, seenFingerprint, answersChanged, reason } = event.payload;
  const newest = await context.tasks.newest(task);
  if (!newest) return;
  const stale = answersChanged && newest.task.teacher.epoch <= epoch;
  if (stale) await context.tasks.apply(withEpoch(newest.task, epoch + 1));
  const current = stale ? await context.tasks.newest(task) : newest;
  const occasion = answersChanged ? `epoch-${epoch + 1}` : seenFingerprint.slice(0, 10);
  if (current) await retrain(context, current, occasion, reason);
}
