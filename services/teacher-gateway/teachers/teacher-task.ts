import { type CompiledTask, plainSchema } from '@understudy/task';
import type { TeacherExample, TeacherTask } from './teacher.ts';

/** What a connector is told of a task. */
export const teacherTaskOf = (compiled: CompiledTask): TeacherTask => {
  const { task, output } = compiled;
  return {
    name: task.name,
    instructions: task.prompt.instructions,
    schema: plainSchema(task.output.schema),
    heads: output.heads,
    single: output.single,
    examples: task.examples.map((example) => exampleOf(compiled, example)),
  };
};

const exampleOf = (
  compiled: CompiledTask,
  { input, output }: CompiledTask['task']['examples'][number],
): TeacherExample => {
  const parsed = compiled.parseAnswer(JSON.stringify(output));
  if (!parsed.ok)
    throw new Error(`an example of task ${compiled.task.name} does not fit its schema: ${parsed.message}`);
  return { text: compiled.renderPrompt(input).text, answer: parsed.answer };
};
