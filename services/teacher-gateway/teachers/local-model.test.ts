import { expect, test } from 'vitest';
import { LocalTeacher } from './local-model.ts';
import type { TeacherTask } from './teacher.ts';

const task: TeacherTask = {
  ...{ name: 'local', instructions: '', schema: {}, examples: [] },
  heads: [{ kind: 'choice', name: 'a', values: ['"x"', '"y"'] }],
  single: { field: 'a', labels: ['x', 'y'] },
};

/** A worker that speaks the threads' messages, in a few words. */
const program = (onStart: string, onAsk: string) =>
  new URL(
    `data:text/javascript,${encodeURIComponent(`
      import { parentPort } from 'node:worker_threads';
      ${onStart};
      parentPort.on('message', ({ kind, id, text }) => {
        if (kind === 'close') parentPort.close();
        else { ${onAsk} }
      });
      parentPort.postMessage({ kind: 'ready', version: 'v1' });`)}`,
  );
const teacher = (onStart: string, onAsk: string) => {
  const local = { kind: 'onnx', model: 'm', maxConcurrency: 4, program: program(onStart, onAsk) } as const;
  return new LocalTeacher(local, task, () => undefined).start();
};
const never = new AbortController().signal;

test('a text that the model fails on is rejected, and takes no other with it', async () => {
  await using poisoned = await teacher(
    '',
    `parentPort.postMessage(text === 'poison' ? { kind: 'failed', id, message: 'too sweet' }
      : { kind: 'answer', id, probabilities: [0.25, 0.75], tokens: 1 })`,
  );
  const asked = ['a', 'poison', 'b'].map((text) => poisoned.answer({ text }, never).catch((error) => error));
  const [first, second, third] = await Promise.all(asked);
  expect(first).toMatchObject({ content: '{"a":"y"}', soft: { a: [0.25, 0.75] }, version: 'v1' });
  expect(second).toMatchObject({
    failure: 'rejected',
    retryable: false,
    message: expect.stringContaining('too sweet'),
  });
  expect(third).toMatchObject({ content: '{"a":"y"}' });
});

test('a thread that dies of a text leaves what is pending to be tried again, and another takes its place', async () => {
  await using mortal = await teacher(
    '',
    `if (text === 'die') throw new Error('out of memory');
      parentPort.postMessage({ kind: 'answer', id, probabilities: [1, 0], tokens: 1 })`,
  );
  await expect(mortal.answer({ text: 'die' }, never)).rejects.toMatchObject({ failure: 'overloaded', retryable: true });
  expect(await mortal.answer({ text: 'live' }, never)).toMatchObject({ content: '{"a":"x"}' });
});

test('a thread that cannot begin says why', async () => {
  await expect(teacher("throw new Error('no such thing')", '')).rejects.toMatchObject({
    failure: 'overloaded',
    cause: expect.objectContaining({ message: 'no such thing' }),
  });
});
