import type { HeadTask } from './embedded-worker.ts';
import { LocalTeacher } from './local-model.ts';
import type { SingleEnum } from './single-enum.ts';
import { type Teacher, TeacherError, type TeacherTask } from './teacher.ts';

/** As task files name it. */
export const EMBEDDED_MODEL = 'universal-sentence-encoder-lite';

/** One text is encoded at a time; with one more waiting the thread never idles, and what waits longer would only look slow. */
const MAX_CONCURRENCY = 2;

/**
 * The teacher that needs no key and no network: a sentence encoder with a head fitted to the task's examples, which gives a
 * probability for each label. It answers the most probable one, the first of equals.
 * @throws TeacherError (`rejected`) when the task has more than one enum field, or examples that cannot teach: none, a label
 *   without one, a label that the task does not have; (`overloaded`) when the encoder cannot be started
 */
export async function createEmbeddedTeacher(task: TeacherTask): Promise<Teacher> {
  const model = {
    kind: 'embedded',
    model: EMBEDDED_MODEL,
    maxConcurrency: MAX_CONCURRENCY,
    program: new URL('./embedded-worker.ts', import.meta.url),
  } as const;
  return new LocalTeacher(model, task, (single) => headTask(task, single)).start();
}

function headTask({ name, examples }: TeacherTask, { field, labels }: SingleEnum): HeadTask {
  const indices = new Map(labels.map((label, index) => [label, index]));
  const counts = new Array<number>(labels.length).fill(0);
  const indexed = examples.map(({ text, answer }, position) => {
    const label = String((JSON.parse(answer) as Record<string, unknown>)[field]);
    const index = indices.get(label);
    if (index === undefined) {
      throw new TeacherError(
        'rejected',
        `task ${name}: expected example ${position + 1} to have one of the labels ${labels.join(', ')}, got ${label}; correct it`,
      );
    }
    counts[index] = (counts[index] ?? 0) + 1;
    return { text, label: index };
  });
  if (labels.length < 2) {
    throw new TeacherError(
      'rejected',
      `task ${name}: expected at least two labels, got ${labels.length}; there is nothing to decide`,
    );
  }
  const without = labels.filter((_, index) => counts[index] === 0);
  if (without.length > 0) {
    throw new TeacherError(
      'rejected',
      `task ${name}: the embedded teacher learns from examples and expected at least one for each label, got none for ${without.join(', ')}; add some`,
    );
  }
  return { labelCount: labels.length, examples: indexed };
}
