import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { RunStage, RunStateSchema } from '@understudy/contract/prompt';
import { FolderBlobStore } from '@understudy/service/blobs/folder';
import { InTurn } from '@understudy/service/in-turn';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Run } from '../run.ts';
import { putSample, readSample, SAMPLES } from '../sample-store.ts';
import { eraseFromSamples } from './erase-samples.ts';

let folder: string;
let blobs: FolderBlobStore;
let run: Run;
const promptOf = (name: string, origin: string) => ({
  promptId: Buffer.from(name.padEnd(32)).toString('hex'),
  inputJson: JSON.stringify({ text: `the text of ${name}` }),
  weight: 1,
  origin,
});
const [a, b, c] = [promptOf('a', 'mail'), promptOf('b', 'mail'), promptOf('c', 'calls')];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'understudy-samples-'));
});
afterAll(() => rm(folder, { recursive: true }));
beforeEach(async () => {
  blobs = await FolderBlobStore.open(await mkdtemp(join(folder, 'blobs-')));
  const state = create(RunStateSchema, { runId: 'r', task: 't', stage: RunStage.LABELLING });
  const chunks = await putSample(blobs, [a, b, c]);
  run = { state, chunks, batches: [], ownPrompts: false } as unknown as Run;
});

const erase = (change: object) => {
  const runs = { list: async () => [run] };
  const update = async (_runId: string, change: (before: Run) => Run) => {
    const before = run;
    run = change(before);
    return { before, after: run };
  };
  const runStore = { update } as unknown as Parameters<typeof eraseFromSamples>[0]['runStore'];
  return eraseFromSamples({ blobs, runStore, runs }, { task: 't', promptIds: new Set(), source: '', ...change });
};
const sampled = () => Array.fromAsync(readSample(blobs, run.chunks, 0, 3));

test('a prompt keeps its place and its id, and the old chunk is gone', async () => {
  const before = run.chunks[0]!.digest;
  expect(await erase({ promptIds: new Set([b.promptId]) })).toMatchObject({ prompts: 1 });
  expect(await sampled()).toEqual([
    a,
    { promptId: b.promptId, inputJson: '', weight: 1, forgotten: true, origin: 'mail' },
    c,
  ]);
  expect(await blobs.has(SAMPLES, before)).toBe(false);
  expect(await erase({ promptIds: new Set([b.promptId]) })).toMatchObject({ prompts: 0 });
});

test('a source goes with all its inputs, which are told again the next time', async () => {
  const first = await erase({ source: 'mail' });
  expect({ ...first, ofSource: [...first.ofSource] }).toEqual({ prompts: 2, ofSource: [a.promptId, b.promptId] });
  expect((await sampled()).map(({ forgotten }) => forgotten ?? false)).toEqual([true, true, false]);
  const second = await erase({ source: 'mail' });
  expect({ ...second, ofSource: [...second.ofSource] }).toEqual({ prompts: 0, ofSource: [a.promptId, b.promptId] });
  // Of another task's run a source of the same name is another one.
  expect(await erase({ task: 'other', source: 'calls' })).toMatchObject({ prompts: 0 });
});

test.each([
  ['the input first', [0, 1]],
  ['the source first', [1, 0]],
])('an input and its source at once, %s: neither writes back what the other erased', async (_, order) => {
  const turn = new InTurn();
  const changes = [{ promptIds: new Set([a.promptId, c.promptId]) }, { source: 'mail' }];
  const erased = await Promise.all(order.map((n) => turn.do(() => erase(changes[n]!))));
  expect(erased.reduce((sum, { prompts }) => sum + prompts, 0)).toBe(3);
  expect((await sampled()).map(({ forgotten }) => forgotten ?? false)).toEqual([true, true, true]);
  expect(await Array.fromAsync(blobs.list(SAMPLES, ''))).toEqual(run.chunks.map(({ digest }) => digest));
});

test('while a run draws its sample nothing can be said', async () => {
  run = { ...run, state: create(RunStateSchema, { ...run.state, stage: RunStage.SAMPLING }) };
  await expect(erase({ promptIds: new Set([b.promptId]) })).rejects.toThrow(/is choosing its prompts/);
});
