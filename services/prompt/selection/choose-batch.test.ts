import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Split } from '@understudy/contract';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { openBlobStore } from '@understudy/service/blobs/open-blob-store';
import { compileTask, parseTask } from '@understudy/task';
import { splitOf } from '@understudy/task/grouping/split';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { JUDGING_SHARE } from '../limits.ts';
import type { Run } from '../run.ts';
import { advance, beginRun, commandsOf, termsOf } from '../run-state.ts';
import type { SampledPrompt } from '../sample.ts';
import { promptsOf, putSample } from '../sample-store.ts';
import { taskOf } from '../testing.ts';
import { chooseBatch, poolSize } from './choose-batch.ts';

const compiled = compileTask(
  parseTask(
    taskOf('choosing', { budget: { calls: 300, usd: 0 }, batches: { first: 100, growth: 1, selection: 'active' } }),
  ),
);
const around = { nowMs: 1, graceMs: 1_000 };
const terms = termsOf(compiled.task);
const prompts: SampledPrompt[] = Array.from({ length: 1_200 }, (_, i) => {
  const { promptId, inputJson } = compiled.renderPrompt({ text: `question ${i * 7919} about ${i % 50}` });
  return { promptId, inputJson, weight: 1 };
}).sort((a, b) => (a.promptId < b.promptId ? -1 : 1));
const splitOfPrompt = ({ promptId }: SampledPrompt) => splitOf('choosing', promptId, compiled.task.splits);

let folder: string;
let blobs: BlobStore;
let run: Run;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choosing-'));
  blobs = await openBlobStore({ DATA_DIR: folder, BLOB_URL: pathToFileURL(folder).href });
  const given = {
    runId: 'r',
    task: 'choosing',
    taskDigest: compiled.digest,
    ownPrompts: false,
    traceparent: '',
    terms,
  };
  const sample = { population: 1_200, duplicates: 0, badRecords: 0, badRecordDetails: [], pairs: 0, sources: [] };
  run = advance(beginRun(given, 0), { type: 'sampled', sample, chunks: await putSample(blobs, prompts) }, around);
  run = advance(run, { type: 'submitted', batch: 1, prompts: 100 }, around);
  run = advance(run, { type: 'closed', batch: 1 }, around);
  const failed = {
    runId: 'r',
    task: 'choosing',
    taskDigest: compiled.digest,
    seal: 1,
    morePairs: 100,
    reason: 'close',
  };
  run = advance(run, { type: 'eval.failed', payload: failed } as never, around);
});
afterAll(async () => {
  await blobs[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

describe('a batch that is chosen', () => {
  test('is chosen before it is submitted, from more inputs than the budget has calls', () => {
    expect(poolSize(terms)).toBe(1_200);
    expect(poolSize({ ...terms, active: false })).toBe(300);
    expect(commandsOf(run)).toMatchObject([{ type: 'choose', batch: { number: 2, from: 100, to: 200 } }]);
  });

  test('asks nothing twice, chooses only what trains, and takes the next of the random sample to judge', async () => {
    const batch = run.batches[1]!;
    const chosen = await chooseBatch({ blobs }, compiled, run, batch, new AbortController().signal);
    expect(chosen).toHaveLength(100);
    const first = new Set(prompts.slice(0, 100).map(({ promptId }) => promptId));
    expect(new Set([...first, ...chosen.map(({ promptId }) => promptId)]).size).toBe(200);
    const [judges, trains] = [
      chosen.filter(({ trainsOnly }) => !trainsOnly),
      chosen.filter(({ trainsOnly }) => trainsOnly),
    ];
    expect(trains.map(splitOfPrompt)).toEqual(trains.map(() => Split.TRAIN));
    const next = prompts.slice(100).filter((prompt) => splitOfPrompt(prompt) !== Split.TRAIN);
    expect(judges).toEqual(next.slice(0, 100 * JUDGING_SHARE));
    // The same again after a crash.
    expect(await chooseBatch({ blobs }, compiled, run, batch, new AbortController().signal)).toEqual(chosen);

    const chunks = await putSample(blobs, chosen);
    const after = advance(run, { type: 'selected', batch: 2, chunks }, around);
    expect(commandsOf(after)).toMatchObject([{ type: 'submit', batch: { number: 2 } }]);
    const submitted = await Array.fromAsync(promptsOf(blobs, after, after.batches[1]!, 40));
    expect(submitted).toEqual(chosen.slice(40));
    expect(advance(after, { type: 'selected', batch: 2, chunks: [] }, around).batches[1]?.chosen).toEqual(chunks);
  });
});
