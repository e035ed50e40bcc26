import type { AddressRules } from '@understudy/service/outbound';
import type { CompiledTask, Task, Teacher as TeacherSettings } from '@understudy/task';
import { createAnthropicTeacher } from './anthropic.ts';
import { createNatsTeacher, type TeacherBus } from './nats.ts';
import { createOnnxTeacher } from './onnx.ts';
import { createOpenAiTeacher } from './openai.ts';
import type { Recordings } from './recordings.ts';
import type { Teacher, TeacherTask } from './teacher.ts';
import { teacherTaskOf } from './teacher-task.ts';

/** What connectors are made with. */
export interface TeacherSurroundings {
  env: NodeJS.ProcessEnv;
  bus: TeacherBus;
  /** Where connections may go. */
  addresses: AddressRules;
  /** Where replies are written down. */
  recordTo?: Recordings | undefined;
  /** Where replies are taken from; then no teacher is asked at all. */
  replayFrom?: Recordings | undefined;
}

/** The connector that a task names. @throws TeacherError when it cannot be made */
export const openTeacher = (compiled: CompiledTask, surroundings: TeacherSurroundings): Promise<Teacher> =>
  connectorOf(teacherTaskOf(compiled), compiled.task.teacher, surroundings);

/** What the teacher is told to write, and how many inputs. */
export interface WritingRequest {
  readonly instructions: string;
  readonly inputs: number;
}

/** The connector to have a task's teacher write inputs. @throws TeacherError when it cannot be made */
export const openWriter = (
  compiled: CompiledTask,
  request: WritingRequest,
  surroundings: TeacherSurroundings,
): Promise<Teacher> => {
  const { told, settings } = writerOf(compiled.task, request);
  return connectorOf(told, settings, surroundings);
};

/**
 * What a teacher that writes is told, and its settings: the same model, other words. It is warm, because a model that always
 * takes its likeliest word writes the same inputs again.
 */
export const writerOf = <T extends TeacherSettings>(
  task: Task & { teacher: T },
  { instructions, inputs }: WritingRequest,
): { told: TeacherTask; settings: T } => {
  const told: TeacherTask = {
    name: `${task.name}-inputs`,
    instructions,
    schema: writtenSchema(task.input.fields),
    heads: [],
    single: undefined,
    examples: [],
  };
  return { told, settings: warm(task.teacher, inputs) };
};

/** Hot enough that answers differ; sampling at 1 is what models are trained for. */
const WRITING_TEMPERATURE = 1;
/** An input of a narrow task is a sentence to a paragraph; an answer that is cut off gives what is whole in it. */
const TOKENS_PER_INPUT = 200;

const warm = <T extends TeacherSettings>(teacher: T, inputs: number): T =>
  'maxOutputTokens' in teacher
    ? {
        ...teacher,
        ...('temperature' in teacher ? { temperature: WRITING_TEMPERATURE } : {}),
        maxOutputTokens: Math.max(teacher.maxOutputTokens, TOKENS_PER_INPUT * inputs),
      }
    : teacher;

/** Without bounds of the list: not every server's strict mode takes them. */
const writtenSchema = (fields: readonly string[]): Record<string, unknown> => ({
  type: 'object',
  properties: {
    inputs: {
      type: 'array',
      items: {
        type: 'object',
        properties: Object.fromEntries(fields.map((field) => [field, { type: 'string' }])),
        required: [...fields],
        additionalProperties: false,
      },
    },
  },
  required: ['inputs'],
  additionalProperties: false,
});

const connectorOf = async (
  fixed: TeacherTask,
  teacher: TeacherSettings,
  surroundings: TeacherSurroundings,
): Promise<Teacher> => {
  const { recordTo, replayFrom } = surroundings;
  if (replayFrom) return replayFrom.replayed(fixed, teacher);
  const connector = await askingConnector(fixed, teacher, surroundings);
  return recordTo ? recordTo.recorded(connector, fixed, teacher) : connector;
};

const askingConnector = async (
  fixed: TeacherTask,
  teacher: TeacherSettings,
  { env, bus, addresses }: TeacherSurroundings,
): Promise<Teacher> => {
  if (teacher.kind === 'openai') return createOpenAiTeacher(fixed, teacher, { env, addresses });
  if (teacher.kind === 'anthropic') return createAnthropicTeacher(fixed, teacher, { env, addresses });
  if (teacher.kind === 'nats') return createNatsTeacher(fixed, teacher, bus);
  if (teacher.kind === 'onnx') return createOnnxTeacher(fixed, teacher);
  // Only who asks it loads the encoder.
  const { createEmbeddedTeacher } = await import('./embedded.ts');
  return createEmbeddedTeacher(fixed);
};
