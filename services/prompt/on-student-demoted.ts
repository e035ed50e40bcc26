import type { Event } from '@understudy/service/bus/settle';
import type { PromptContext } from './context.ts';
import { retrain } from './retrain.ts';

/** A student that fell in live traffic is replaced, where the task's policy says so. What a person took back, a person decides on. */
export async function onStudentDemoted(context: PromptContext, event: Event<'student.demoted'>): Promise<void> {
  const { task, author, reason, generation } = event.payload;
  if (author !== 'policy') return;
  const newest = await context.tasks.newest(task);
  if (newest) await retrain(context, newest, String(generation), reason);
}
