/** Inputs that are not to be asked again: pair-store keeps the list. */
import { promptIdsOf } from '@understudy/task';
import type { StepContext } from '../context.ts';

/** All of a task's. @throws RetryableError while pair-store is away: rather than ask for what is forgotten, nothing is asked */
export async function forgottenOf(context: Pick<StepContext, 'forgetting'>, task: string): Promise<Set<string>> {
  const forgotten = new Set<string>();
  for await (const { promptIds } of context.forgetting.listForgotten({ task })) {
    for (const id of promptIdsOf(promptIds)) forgotten.add(id);
  }
  return forgotten;
}
