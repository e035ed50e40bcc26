import { join } from 'node:path';
import { Split } from '@understudy/contract';
import { RetryableError, TerminalError } from '@understudy/service/errors';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { pairs, SNAPSHOT, Stage, TASK } from '../testing.ts';
import type { Job } from './protocol.ts';
import { type Supervision, trainInProcess } from './supervise.ts';

const PAIRS = [...pairs(Split.TRAIN, 100), ...pairs(Split.DEV, 20)];

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.set();
  stage.pairStore.snapshots.set(SNAPSHOT, PAIRS);
  await stage.pairStore.listen();
});
afterAll(() => stage[Symbol.asyncDispose]());

const job = (change: Partial<Job> = {}): Job => ({
  order: {
    task: TASK,
    taskDigest: stage.taskDigest,
    runId: 'run-1',
    seal: 1,
    snapshot: { digest: SNAPSHOT, fingerprint: 'f', trainPairs: 100, devPairs: 20, testPairs: 0 },
  },
  candidate: { family: 'bag' },
  trainPairs: undefined,
  acrossFolds: false,
  checkpoint: 'trainer/test/checkpoint',
  cacheFolder: join(stage.folder, 'features'),
  threads: 1,
  place: { engine: 'ort', device: 'cpu' },
  blobs: { DATA_DIR: stage.folder },
  pairStoreAddress: `127.0.0.1:${stage.pairStore.port}`,
  rpcToken: undefined,
  traceparent: undefined,
  ...change,
});

const supervision = (change: Partial<Supervision> = {}): Supervision => ({
  signal: new AbortController().signal,
  onStart: () => {},
  onProgress: () => {},
  onCheckpointRefused: () => {},
  onCacheLost: () => {},
  onUnlearnable: () => {},
  ...change,
});

it('gives what the process trained, and the process is gone', async () => {
  let pid = 0;
  const trained = await trainInProcess(job(), supervision({ onStart: (started) => (pid = started ?? 0) }));
  expect(trained.dev).toMatchObject({ pairs: 20 });
  expect(trained.latencyUs).toBeGreaterThan(0);
  expect(await stage.blobs.has('students', trained.studentDigest)).toBe(true);
  expect(() => process.kill(pid, 0)).toThrow('ESRCH');
});

it('says that the candidate crashed when its process is killed', async () => {
  const onStart = (pid: number | undefined): void => void process.kill(pid ?? 0, 'SIGKILL');
  const training = trainInProcess(job(), supervision({ onStart }));
  await expect(training).rejects.toMatchObject({
    name: 'CandidateError',
    crashed: true,
    message: 'the training process was ended by SIGKILL before it was done',
  });
});

it('says when it is the candidate that leads to no student', async () => {
  const candidate = { family: 'bag', hyperparameters: { learningRate: 1e30 } } as const;
  await expect(trainInProcess(job({ candidate }), supervision())).rejects.toMatchObject({
    name: 'CandidateError',
    crashed: false,
    message: expect.stringMatching(/step \d+/),
  });
});

it('asks for another try when the pair store is away, and when blobs cannot be read', async () => {
  const away = trainInProcess(job({ pairStoreAddress: '127.0.0.1:1' }), supervision());
  await expect(away).rejects.toThrow(RetryableError);
  const unreadable = trainInProcess(job({ blobs: { DATA_DIR: '/dev/null' } }), supervision());
  await expect(unreadable).rejects.toThrow(RetryableError);
});

it('gives up when the order is hopeless', async () => {
  const { order } = job();
  const wrong = { ...order, snapshot: { ...order.snapshot, trainPairs: 99 } };
  await expect(trainInProcess(job({ order: wrong }), supervision())).rejects.toThrow(TerminalError);
});

it('ends the process when it is aborted, with the reason it was given', async () => {
  const stop = new AbortController();
  const onProgress = (): void => stop.abort(new Error('enough'));
  // Fifty times the usual: the end that it is given comes first, also where this process hears late of its progress.
  const candidate = { family: 'bag', hyperparameters: { epochs: 2_000, patienceEpochs: 2_000 } } as const;
  const training = trainInProcess(job({ candidate }), supervision({ signal: stop.signal, onProgress }));
  await expect(training).rejects.toThrow('enough');
  await expect(trainInProcess(job(), supervision({ signal: stop.signal }))).rejects.toThrow('enough');
});
