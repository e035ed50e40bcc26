import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { ErasureSchema, ListErasuresResponseSchema } from '@understudy/contract/pair-store';
import { RetryableError } from '@understudy/service/errors';
import { Telemetry } from '@understudy/service/telemetry';
import { expect, test } from 'vitest';
import { ForgottenFeatures } from './forgotten-features.ts';

const { log } = new Telemetry({ service: 'trainer', logLevel: 'silent' });

test('every replica drops its features when something is forgotten, also one that was away, and once more when that is done', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'understudy-features-'));
  await using cleanUp = new AsyncDisposableStack();
  cleanUp.defer(() => rm(folder, { recursive: true }));
  const features = join(folder, 'features');
  await mkdir(features);
  const erasures: { erasureId: string; requestedAt: ReturnType<typeof timestampFromMs>; doneAt?: typeof doneAt }[] = [];
  const doneAt = timestampFromMs(2_000);
  let away = false;
  const listErasures = async () => {
    if (away) throw new RetryableError('pair-store is away');
    return create(ListErasuresResponseSchema, { erasures: erasures.map((one) => create(ErasureSchema, one)) });
  };
  const replica = () => new ForgottenFeatures({ folder: features, forgetting: { listErasures }, log });
  const train = () => writeFile(join(features, 'of-an-encoder'), 'features');

  await train();
  const first = replica();
  expect(await first.follow(), 'nothing was forgotten').toBe(0);
  erasures.push({ erasureId: 'e1', requestedAt: timestampFromMs(1_000) });
  away = true;
  await expect(first.follow()).rejects.toThrow(RetryableError);
  expect(await readdir(features)).toHaveLength(1);
  away = false;
  expect(await first.follow()).toBe(1);
  // A training that was under way keeps what it was asked for: it goes when the erasure is done.
  await train();
  expect(await first.follow()).toBe(0);
  erasures[0]!.doneAt = doneAt;
  // It starts again, having been away meanwhile.
  expect(await replica().follow()).toBe(1);
  await train();
  expect(await replica().follow(), 'what it has been through already costs nothing').toBe(0);
  expect(await replica().drop()).toBe(1);
});

test('a pair-store that hangs keeps no trainer from stopping', async () => {
  let asked = 0;
  const listErasures = (_: object, { signal }: { signal?: AbortSignal } = {}) => {
    asked += 1;
    return new Promise<never>((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
  };
  const features = new ForgottenFeatures({ folder: '/nowhere/features', forgetting: { listErasures }, log });
  features.start();
  await expect.poll(() => asked).toBe(1);
  await features.stop();
});
