import { fileURLToPath } from 'node:url';
import { compileTask, loadTask } from '@understudy/task';
import { beforeAll, describe, expect, test } from 'vitest';
import { readSources } from '../../services/prompt/sources/read.ts';
import { createEmbeddedTeacher } from '../../services/teacher-gateway/teachers/embedded.ts';
import { teacherTaskOf } from '../../services/teacher-gateway/teachers/teacher-task.ts';

const task = await loadTask(fileURLToPath(new URL('task.yaml', import.meta.url)));
const compiled = compileTask(task);
const { field, labels } = compiled.output.single!;

interface Mail {
  readonly text: string;
  readonly reference: string;
}

describe('the corpus', () => {
  /** By prompt id. */
  const mails = new Map<string, Mail>();
  beforeAll(async () => {
    for await (const record of readSources(compiled, {})) {
      if ('fault' in record) throw new Error(`${record.position}: ${record.fault}`);
      const { promptId, text } = compiled.renderPrompt(record.input);
      mails.set(promptId, { text, reference: String(record.reference) });
    }
  });

  test('has enough distinct mails for 4,000 train and 800 test pairs', () => {
    expect(mails.size - task.examples.length).toBe(5_781);
    expect([...new Set([...mails.values()].map(({ reference }) => reference))].sort()).toEqual([...labels].sort());
  });

  test('holds the examples, whole and with their labels', () => {
    for (const { input, output } of task.examples) {
      expect(mails.get(compiled.promptId(input))?.reference, input.subject).toBe(output[field]);
    }
  });

  test('is something that the teacher is good at', async () => {
    const shown = new Set(task.examples.map(({ input }) => compiled.promptId(input)));
    const unseen = [...mails].filter(([id]) => !shown.has(id)).sort(([a], [b]) => (a < b ? -1 : 1));
    await using teacher = await createEmbeddedTeacher(teacherTaskOf(compiled));
    const { signal } = new AbortController();
    const right = await Promise.all(
      unseen.slice(0, 300).map(async ([, { text, reference }]) => {
        const { content } = await teacher.answer({ text }, signal);
        return content === JSON.stringify({ [field]: reference });
      }),
    );
    // 94.0% of all mails; 300 of them at random fall below this once in ten thousand times, and these are always the same.
    expect(right.filter(Boolean).length / right.length).toBeGreaterThan(0.88);
  });
});
