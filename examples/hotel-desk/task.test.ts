import { fileURLToPath } from 'node:url';
import { compileTask, loadTask } from '@understudy/task';
import { expect, test } from 'vitest';
import { readSources } from '../../services/prompt/sources/read.ts';

const task = await loadTask(fileURLToPath(new URL('task.yaml', import.meta.url)));
const compiled = compileTask(task);
const { output, renderPrompt, promptId } = compiled;

test('the fields are what a student can decide, and one that it cannot', () => {
  expect(output.heads.map(({ kind, name }) => `${name}: ${kind}`)).toEqual([
    'guest: span',
    'intents: tags',
    'reply: choice',
    'stay: choice',
    'stay.from: span',
    'stay.nights: number',
    'urgency: number',
  ]);
});

test('the examples come back as they were, but for the one with a reply', () => {
  for (const { input, output: answer } of task.examples) {
    const { text } = renderPrompt(input);
    const json = JSON.stringify(answer);
    const encoded = output.encode(json, text);
    if (!encoded.ok) throw new Error(encoded.message);
    const decoded = output.decode(encoded.values, text);
    if ('reply' in answer) expect(decoded).toBeUndefined();
    else expect(output.agreement(decoded as string, json).whole).toBe(true);
  }
});

test('there are requests enough for a test split that proves something', async () => {
  const ids = new Set<string>();
  for await (const record of readSources(compiled, {})) {
    if ('fault' in record) throw new Error(`${record.position}: ${record.fault}`);
    ids.add(promptId(record.input));
  }
  expect(ids.size).toBe(1_500);
});
