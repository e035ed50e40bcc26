import { readdir, unlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { CandidateStatus, Split } from '@understudy/contract';
import type { RunningService } from '@understudy/service/lifecycle';
import { allHandled } from '@understudy/service/testing';
import { openBundle, StudentModel } from '@understudy/student';
import { tinyEncoder } from '@understudy/student/testing-encoder';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Heard, LABELS, type Pair, pairs, SNAPSHOT, Stage, TASK } from './testing.ts';

const PAIRS = [...pairs(Split.TRAIN, 400), ...pairs(Split.DEV, 60)];
/** Enough for a training of several checkpoints: what is to happen after the first happens long before the end. */
const MANY_PAIRS = [...pairs(Split.TRAIN, 4_000), ...pairs(Split.DEV, 60)];

let stage: Stage;
let trained: Heard<'student.trained'>;
let progress: Heard<'training.progressed'>;
const running: RunningService[] = [];

beforeEach(async () => {
  stage = await Stage.set();
  trained = new Heard(stage.bus, 'student.trained');
  progress = new Heard(stage.bus, 'training.progressed');
});

afterEach(async () => {
  for (const service of running.splice(0)) await service.stop();
  await trained[Symbol.asyncDispose]();
  await progress[Symbol.asyncDispose]();
  await stage[Symbol.asyncDispose]();
});

async function start(): Promise<RunningService> {
  const service = await stage.startTrainer();
  running.push(service);
  return service;
}

async function stop(service: RunningService): Promise<void> {
  running.splice(running.indexOf(service), 1);
  await service.stop();
}

const settled = (): Promise<void> => allHandled(stage.bus.bus, 'trainer-snapshots');

/** A checkpoint of the training is in the blob store. */
async function saved(): Promise<void> {
  const folder = `${stage.folder}/blobs/named/trainer`;
  for (;;) {
    const files = await readdir(folder, { recursive: true }).catch(() => []);
    if (files.some((file) => file.endsWith('/checkpoint'))) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe('a sealed snapshot', () => {
  it('becomes a student that anybody can open and that knows where it comes from', async () => {
    await stage.pairStore.listen();
    await start();
    await stage.seal('run-1', PAIRS);
    const { student, snapshot, runId, seal, task } = await trained.first();
    expect({ runId, seal, task, digest: snapshot?.digest }).toEqual({
      runId: 'run-1',
      seal: 1,
      task: TASK,
      digest: SNAPSHOT,
    });
    const archive = await stage.blobs.get('students', student?.digest ?? '');
    expect(archive.length).toBe(Number(student?.sizeBytes));
    const bundle = await openBundle(archive, student?.digest);
    expect(bundle.description).toMatchObject({
      family: 'bag',
      heads: [{ field: 'label', labels: [...LABELS] }],
      lineage: {
        task: { name: TASK, digest: stage.taskDigest },
        snapshotDigest: SNAPSHOT,
        fingerprint: 'c'.repeat(64),
      },
      training: { trainExamples: 400, devExamples: 60, threads: 2 },
    });
    expect(student?.devAgreement).toBe(bundle.description.devAgreement);
    const model = await StudentModel.load(bundle, { threads: 1 });
    const [bill, parcel] = await model.predict(['the invoice is wrong', 'a parcel is late']);
    await model.release();
    expect(bill?.logits.label?.[0]).toBeGreaterThan(bill?.logits.label?.[1] ?? 0);
    expect(parcel?.logits.label?.[1]).toBeGreaterThan(parcel?.logits.label?.[0] ?? 0);
  });

  it('shows its progress', async () => {
    await stage.pairStore.listen();
    await start();
    await stage.seal('run-1', PAIRS);
    const last = await progress.first(({ step, steps }) => step === steps);
    expect(last).toMatchObject({ runId: 'run-1', task: TASK, family: 'bag', epoch: last.epochs });
    expect(last.devAgreement).toBeGreaterThan(0.9);
    expect(last.loss).toBeLessThan(0.69);
  });

  it('is trained on once, however often it is heard of, and the same fact is told once a run', async () => {
    await stage.pairStore.listen();
    await start();
    await stage.seal('run-1', PAIRS);
    const first = await trained.first();
    const { reads } = stage.pairStore;
    await stage.seal('run-1', PAIRS, {}, 'delivered twice');
    await stage.seal('run-2', PAIRS);
    const other = await trained.first(({ runId }) => runId === 'run-2');
    await settled();
    expect(other.student).toEqual(first.student);
    expect(stage.pairStore.reads).toBe(reads);
    expect(await stage.stored('student.trained')).toBe(2);
  });

  it('is trained on again when its student is gone', async () => {
    await stage.pairStore.listen();
    await start();
    await stage.seal('run-1', PAIRS);
    const { student } = await trained.first();
    await unlink(`${stage.folder}/blobs/students/${student?.digest}`);
    await stage.seal('run-2', PAIRS);
    const again = await trained.first(({ runId }) => runId === 'run-2');
    expect(again.student?.digest).toBe(student?.digest);
    expect(await stage.blobs.has('students', student?.digest ?? '')).toBe(true);
  });
});

describe('a training that is interrupted', () => {
  it('goes on where it was, in another process, to the same student', async () => {
    await stage.pairStore.listen();
    const first = await start();
    await stage.seal('run-1', MANY_PAIRS);
    await saved();
    await stop(first);
    expect(await stage.stored('student.trained')).toBe(0);
    await expect.poll(async () => progress.all.length - (await stage.stored('training.progressed'))).toBe(0);
    const before = progress.all.length;
    await start();
    const { student } = await trained.first();
    expect(Math.min(...progress.all.slice(before).map(({ step }) => step))).toBeGreaterThan(100);

    await using undisturbed = await Stage.set();
    await using control = new Heard(undisturbed.bus, 'student.trained');
    await undisturbed.pairStore.listen();
    const service = await undisturbed.startTrainer();
    await undisturbed.seal('run-1', MANY_PAIRS);
    expect((await control.first()).student?.digest).toBe(student?.digest);
    await service.stop();
  });

  it('waits for a pair store that is away', async () => {
    await start();
    await stage.seal('run-1', PAIRS);
    for (;;) {
      const { num_redelivered } = await stage.bus.bus.jsm.consumers.info('FACTS', 'trainer-snapshots');
      if (num_redelivered > 0) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await stage.pairStore.listen();
    expect((await trained.first()).runId).toBe('run-1');
  });
});

describe('a cancelled run', () => {
  it('is not trained for, neither from the start nor any further', async () => {
    await stage.pairStore.listen();
    await start();
    await stage.seal('run-1', MANY_PAIRS);
    await progress.first();
    await stage.cancel('run-1');
    await settled();
    await stage.cancel('run-2');
    await stage.seal('run-2', MANY_PAIRS);
    await settled();
    await stage.seal('run-3', MANY_PAIRS);
    await trained.first(({ runId }) => runId === 'run-3');
    expect(trained.all.map(({ runId }) => runId)).toEqual(['run-3']);
  });
});

describe('a dead letter says why no student can be trained', () => {
  const oneLabel = [...pairs(Split.TRAIN, 40, ['bill']), ...pairs(Split.DEV, 10, ['bill'])];
  const unknownLabel = pairs(Split.TRAIN, 2, ['bill', 'lost']);
  const soft = [{ head: 'label', probabilities: [0.5, 0.3, 0.2] }];
  const otherLabels = { pairId: '1', promptId: '1', text: 'three', answerJson: '{"label":"bill"}', soft };
  const hardProbabilities: Pair[] = [...PAIRS, { split: Split.TRAIN, weight: 1, pair: otherLabels }];
  it.each([
    ['there is one label only', oneLabel, {}, 'the teacher gave "bill" for all 40 train examples'],
    ['there is no pair to train on', pairs(Split.DEV, 10), {}, 'there is no train example to learn from'],
    ['there is no pair to choose by', pairs(Split.TRAIN, 10), {}, 'there is no dev example'],
    ['a label is not of the task', unknownLabel, {}, 'has the answer {"label":"lost"}: the task allows no such answer'],
    ['probabilities are of other labels', hardProbabilities, {}, 'expected 2 probabilities, got 3'],
    ['the task is not stored', PAIRS, { taskDigest: 'd'.repeat(64) }, `tasks/${'d'.repeat(64)} cannot be used`],
    ['the snapshot is missing', PAIRS, { snapshot: undefined }, 'pairs.sealed: snapshot.digest'],
    [
      'the pair store does not know the snapshot',
      PAIRS,
      { snapshot: { digest: 'e'.repeat(64), fingerprint: 'f', trainPairs: 400, devPairs: 60 } },
      `there is no snapshot ${'e'.repeat(64)}`,
    ],
    [
      'the snapshot has other pairs than it should',
      PAIRS,
      { snapshot: { digest: SNAPSHOT, fingerprint: 'f', trainPairs: 401, devPairs: 60 } },
      'pairs.sealed says 401 pairs, the pair store gave 400',
    ],
  ])('when %s', async (_, stored, change, reason) => {
    await stage.pairStore.listen();
    await start();
    await stage.seal('run-1', stored, change);
    const [letter] = await stage.bus.deadLetters(1);
    expect(letter?.reason).toContain(reason);
    expect(letter).toMatchObject({ runId: 'run-1', consumer: 'trainer-snapshots', deliveries: 1 });
    expect(trained.all).toEqual([]);
  });
});

describe("a task's limits", () => {
  /** A stage whose task wants its training otherwise, with a trainer on it. */
  async function stageOf(training: object, goal: object = {}) {
    const stack = new AsyncDisposableStack();
    const other = stack.use(await Stage.set({ training, goal }));
    const told = stack.use(new Heard(other.bus, 'student.trained'));
    await other.pairStore.listen();
    const service = await other.startTrainer();
    stack.defer(() => service.stop());
    return { stage: other, told, [Symbol.asyncDispose]: () => stack.disposeAsync() };
  }

  it('that leave no time for even the cheapest student are told so', async () => {
    await using scene = await stageOf({ maxMinutes: 0.0001 });
    await scene.stage.seal('run-1', PAIRS);
    const [letter] = await scene.stage.bus.deadLetters(1);
    expect(letter?.reason).toContain('no student was trained within training.maxMinutes (0.0001); allow more');
    expect(scene.told.all).toEqual([]);
  });

  it('may name an encoder that is not there: the search does without', async () => {
    const encoder = { folder: '/nowhere/minilm' };
    await using scene = await stageOf({ families: ['bag', 'encoder'], encoder }, { sizeBytes: 500_000_000 });
    await scene.stage.seal('run-1', PAIRS);
    const { student, candidates } = await scene.told.first();
    expect(student?.family).toBe('bag');
    expect(candidates[1]).toMatchObject({ name: 'encoder minilm (all)', status: CandidateStatus.FAILED });
    expect(candidates[1]?.reason).toContain('the encoder in /nowhere/minilm cannot be used');
  });

  it('may name an encoder that is: its student is of it, and what it gives for texts is kept', async () => {
    await using encoder = await tinyEncoder();
    await using scene = await stageOf({ families: ['encoder'], encoder: { folder: encoder.folder, train: 'heads' } });
    await scene.stage.seal('run-1', PAIRS);
    const { student, candidates } = await scene.told.first();
    const description = { name: `encoder ${basename(encoder.folder)} (heads)`, status: CandidateStatus.TRAINED };
    expect(candidates).toMatchObject([{ ...description, digest: student?.digest }]);
    const bundle = await openBundle(await scene.stage.blobs.get('students', student!.digest));
    expect(bundle.description).toMatchObject({ family: 'encoder', training: { pretrained: { train: 'heads' } } });
    expect(await readdir(join(scene.stage.folder, 'features'))).toHaveLength(1);
  });

  it('that want nothing but an encoder that is not there lead to no student', async () => {
    await using scene = await stageOf({ families: ['encoder'], encoder: { folder: '/nowhere/minilm' } });
    await scene.stage.seal('run-1', PAIRS);
    const [letter] = await scene.stage.bus.deadLetters(1);
    expect(letter?.reason).toContain(
      'no student was trained: encoder minilm (all): the encoder in /nowhere/minilm cannot be used',
    );
  });
});

it('learns from a class with a single pair', async () => {
  await stage.pairStore.listen();
  await start();
  const rare = pairs(Split.TRAIN, 2).slice(1);
  await stage.seal('run-1', [...pairs(Split.TRAIN, 200, ['bill']), ...rare, ...pairs(Split.DEV, 20)]);
  const { candidates } = await trained.first();
  expect(candidates[0]?.status).toBe(CandidateStatus.TRAINED);
});

it('does not start on a device that is not there', async () => {
  // No test machine has onnxruntime's CUDA provider: npm does not install it.
  await expect(stage.startTrainer({ TRAINER_DEVICE: 'cuda' })).rejects.toThrow(
    'TRAINER_ENGINE and TRAINER_DEVICE: nothing can train here as asked (engine auto on device cuda): not ort on cuda: ',
  );
});
