import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { openBlobStore } from '@understudy/service/blobs/open-blob-store';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { keepSpentMs, keptSpentMs } from '../outcomes.ts';
import { Clock } from './clock.ts';

const MINUTE_MS = 60_000;

let folder: string;
let blobs: BlobStore;
const lost: string[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'understudy-clock-'));
  blobs = await openBlobStore({ DATA_DIR: folder });
});
afterEach(async () => {
  await blobs[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const start = (limitMs: number, begunMs = performance.now()) =>
  Clock.start({ blobs, searchKey: 'key', limitMs, begunMs, onNoteLost: (reason) => lost.push(reason) });

it('goes on where an earlier process left it', async () => {
  {
    await using clock = await start(10 * MINUTE_MS, performance.now() - MINUTE_MS);
    expect(clock.isOver).toBe(false);
    expect(clock.spentMs).toBeGreaterThanOrEqual(MINUTE_MS);
  }
  expect(await keptSpentMs(blobs, 'key')).toBeGreaterThanOrEqual(MINUTE_MS);
  await using next = await start(10 * MINUTE_MS);
  expect(next.spentMs).toBeGreaterThanOrEqual(MINUTE_MS);
});

it('is over at once where earlier processes had all the time', async () => {
  await keepSpentMs(blobs, 'key', MINUTE_MS);
  await using clock = await start(MINUTE_MS);
  expect(clock.isOver).toBe(true);
  await clock.over;
});

it('is over when its time is', async () => {
  const begunMs = performance.now();
  await using clock = await start(20, begunMs);
  await clock.over;
  // A timer may be early by the fraction of a millisecond that it does not count.
  expect(performance.now() - begunMs).toBeGreaterThan(19);
  expect(clock.isOver).toBe(true);
});

it('says when what was spent could not be kept', async () => {
  const clock = await start(MINUTE_MS);
  const named = join(folder, 'blobs/named');
  await mkdir(named, { recursive: true });
  await writeFile(join(named, 'trainer'), 'a file where a folder should be');
  await clock[Symbol.asyncDispose]();
  expect(lost).toEqual([expect.stringContaining('trainer')]);
});
