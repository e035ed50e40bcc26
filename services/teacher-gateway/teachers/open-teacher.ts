import type { CompiledTask } from '@understudy/task';
import { createNatsTeacher, type TeacherBus } from './nats.ts';
import { createOpenAiTeacher } from './openai.ts';
import type { Teacher, TeacherExample, TeacherTask } from './teacher.ts';

/** What connectors are made with. */
export interface TeacherSurroundings {
  env: NodeJS.ProcessEnv;
  bus: TeacherBus;
}

/** The connector that a task names. @throws TeacherError when it cannot be made */
export const openTeacher = async (compiled: CompiledTask, { env, bus }: TeacherSurroundings): Promise<Teacher> => {
  const { teacher } = compiled.task;
  const fixed = teacherTaskOf(compiled);
  if (teacher.kind === 'openai') return createOpenAiTeacher(fixed, teacher, env);
  if (teacher.kind === 'nats') return createNatsTeacher(fixed, teacher, bus);
  // Only who asks it loads the encoder.
  const { createEmbeddedTeacher } = await import('./embedded.ts');
  return createEmbeddedTeacher(fixed);
};

const teacherTaskOf = (compiled: CompiledTask): TeacherTask => {
  const { task, output } = compiled;
  return {
    name: task.name,
    instructions: task.prompt.instructions,
    schema: task.output.schema,
    field: output.field,
    labels: output.labels,
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
  return { text: compiled.renderPrompt(input).text, answer: parsed.answer, label: parsed.label };
};
