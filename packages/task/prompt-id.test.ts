import { createHash, createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import { compileTask } from './compile.ts';
import { idKeyName, promptIdOf } from './prompt-id.ts';
import { testTask } from './testing.ts';

const key = Buffer.alloc(32, 7);
test('an id is the HMAC of task and canonical input, computed here with the library alone', () => {
  const content = 'routing\n{"text":"hello"}';
  expect(promptIdOf('routing', '{"text":"hello"}', key)).toBe(createHmac('sha256', key).update(content).digest('hex'));
  expect(promptIdOf('routing', '{"text":"hello"}', undefined)).toBe(createHash('sha256').update(content).digest('hex'));
});

test('one task compiled under two keys, and under none, gives three ids of an input', () => {
  const task = testTask();
  const ids = [undefined, key, Buffer.alloc(32, 8)].map((one) => compileTask(task, one).promptId({ text: ' hello ' }));
  expect(new Set(ids).size).toBe(3);
  expect(compileTask(task, key).renderPrompt({ text: 'hello' }).promptId).toBe(ids[1]);
  expect(compileTask(task).promptId({ text: 'hello' })).toBe(ids[0]);
});

test('keys have names that tell them apart and hold nothing of them', () => {
  expect(idKeyName(undefined)).toBe('unkeyed');
  expect(idKeyName(key)).toMatch(/^[0-9a-f]{16}$/);
  expect(idKeyName(key)).not.toBe(idKeyName(Buffer.alloc(32, 8)));
  expect(Buffer.from(key).toString('hex')).not.toContain(idKeyName(key));
});
