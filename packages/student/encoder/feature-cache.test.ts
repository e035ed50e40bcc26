import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FeatureCache } from './feature-cache.ts';

let folder: string;
let lost: Error[];
const onLost = (error: Error) => lost.push(error);
beforeEach(async () => {
  lost = [];
  folder = await mkdtemp(join(tmpdir(), 'understudy-features-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const ids = (text: number) => [text, 1, 2];
const features = Float32Array.of(0.5, 1.5);

test('a full disk is told once, and costs nothing but the next training its cache', {
  skip: !existsSync('/dev/full'),
}, async () => {
  const cache = await FeatureCache.open(folder, 'a', 2, onLost);
  await symlink('/dev/full', join(folder, 'features-a.bin'));
  for (let text = 0; text < 3; text += 1) await cache.add([{ ids: ids(text), features }]);
  expect(lost.map((error) => (error as NodeJS.ErrnoException).code)).toEqual(['ENOSPC']);
  expect(cache.get(ids(2))).toEqual(features);
});

test('a folder that cannot be made is gone on without', async () => {
  const file = join(folder, 'file');
  await writeFile(file, '');
  const cache = await FeatureCache.open(join(file, 'below'), 'a', 2, onLost);
  await cache.add([{ ids: ids(1), features }]);
  expect(lost).toHaveLength(1);
  expect(cache.get(ids(1))).toEqual(features);
});

test('what a full disk cut off is cut away, and what was whole before it is read', async () => {
  const first = await FeatureCache.open(folder, 'a', 2, onLost);
  await first.add([0, 1].map((text) => ({ ids: ids(text), features })));
  const [name = ''] = await readdir(folder);
  const file = join(folder, name);
  await writeFile(file, (await readFile(file)).subarray(0, -5));
  const second = await FeatureCache.open(folder, 'a', 2, onLost);
  expect([second.get(ids(0)), second.get(ids(1))]).toEqual([features, undefined]);
  await second.add([{ ids: ids(1), features }]);
  expect((await FeatureCache.open(folder, 'a', 2, onLost)).get(ids(1))).toEqual(features);
  expect(lost).toEqual([]);
});
