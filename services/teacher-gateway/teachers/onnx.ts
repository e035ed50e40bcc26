import type { Teacher as TeacherSettings } from '@understudy/task';
import { LocalTeacher } from './local-model.ts';
import type { ModelTask } from './onnx-reading.ts';
import type { Teacher, TeacherTask } from './teacher.ts';

export type OnnxSettings = Extract<TeacherSettings, { kind: 'onnx' }>;

/** Two batches: one that runs, and one that gathers meanwhile. */
const MAX_CONCURRENCY = 32;

/**
 * A model in a folder of this machine, run by onnxruntime in a thread of its own: a classifier whose labels are the task's, or,
 * with a hypothesis, a model for natural language inference, which needs to have seen no example of the task (zero-shot).
 * @throws TeacherError (`rejected`) when the task has more than one enum field, or the model cannot be used for it
 */
export const createOnnxTeacher = async (task: TeacherTask, settings: OnnxSettings): Promise<Teacher> => {
  const { folder, labels: mapped, hypothesis, model } = settings;
  const local = {
    kind: 'onnx',
    model,
    maxConcurrency: MAX_CONCURRENCY,
    program: new URL('./onnx-worker.ts', import.meta.url),
  } as const;
  return new LocalTeacher(local, task, ({ labels }): ModelTask => {
    // With a hypothesis, teacher.labels says what a label is called in it.
    const hypotheses =
      hypothesis === undefined
        ? undefined
        : labels.map((label) => hypothesis.replaceAll('{label}', mapped[label] ?? wordsOf(label)));
    return { folder, labels, mapped: hypotheses ? {} : mapped, hypotheses };
  }).start();
};

/** `bank_transfer` is a name in a program; a language model has read "bank transfer". */
const wordsOf = (label: string): string => label.replaceAll(/[_-]+/g, ' ');
