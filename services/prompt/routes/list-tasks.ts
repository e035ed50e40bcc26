import type { PromptContext } from '../context.ts';

export async function listTasks(context: PromptContext) {
  return { tasks: await context.tasks.names() };
}
