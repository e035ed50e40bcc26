/** The search as a service, over pairs that the cheapest student cannot learn. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { CandidateStatus, Split } from '@understudy/contract';
import { openBundle } from '@understudy/student';
import { randomSource } from '@understudy/student/statistics/random-source';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Heard, LABELS, type Pair, Stage } from './testing.ts';

/**
 * Pairs whose label is the order of two words, each between the same neighbours: n-grams of at most six bytes are the
 * same in both orders, three words in a row are not.
 */
function ordered(seed: number, split: Split, count: number): Pair[] {
  const random = randomSource(seed);
  const oneOf = (words: readonly string[]): string => words[Math.floor(random() * words.length)]!;
  return Array.from({ length: count }, (_, i): Pair => {
    const words = [oneOf(['north', 'east', 'left']), oneOf(['south', 'west', 'right'])];
    const index = Math.floor(random() * 2);
    const [first, second] = index === 0 ? words : words.toReversed();
    const text = `then ${first} then ${second} then ${Math.floor(random() * 10_000)}`;
    return {
      split,
      weight: 1,
      pair: {
        pairId: `${split}/${i}`,
        promptId: `${split}/${i}`,
        text,
        answerJson: JSON.stringify({ label: LABELS[index] }),
      },
    };
  });
}

const PAIRS = [...ordered(1, Split.TRAIN, 600), ...ordered(2, Split.DEV, 150), ...ordered(3, Split.TEST, 300)];
const TASK = { training: { families: ['bag', 'conv', 'transformer'] } };

/** Of the student that an undisturbed search chooses, with its candidates beside each other. */
let digest = '';

describe('a task that the cheapest student cannot learn', () => {
  let stage: Stage;
  let trained: Heard<'student.trained'>;
  let progress: Heard<'training.progressed'>;
  beforeAll(async () => {
    stage = await Stage.set(TASK);
    trained = new Heard(stage.bus, 'student.trained');
    progress = new Heard(stage.bus, 'training.progressed');
    await stage.pairStore.listen();
  });
  afterAll(async () => {
    await trained[Symbol.asyncDispose]();
    await progress[Symbol.asyncDispose]();
    await stage[Symbol.asyncDispose]();
  });

  it('gets the next one that can, and is told of both', async () => {
    const service = await stage.startTrainer();
    await stage.seal('run-1', PAIRS);
    const { student, candidates } = await trained.first();
    digest = student!.digest;
    expect(student).toMatchObject({ family: 'conv' });
    expect(student!.devAgreement).toBeGreaterThan(0.95);
    const { description } = await openBundle(await stage.blobs.get('students', digest), digest);
    expect(description).toMatchObject({ family: 'conv', training: { threads: 2 } });

    const [bag, conv, transformer] = candidates;
    expect(bag).toMatchObject({ name: 'bag', status: CandidateStatus.TRAINED, onFront: true });
    expect(bag!.devAgreement).toBeLessThan(0.8);
    expect(bag!.devMargin).toBeLessThan(0);
    expect(conv).toMatchObject({ name: 'conv', status: CandidateStatus.TRAINED, onFront: true, digest });
    expect(conv!.devAgreement).toBeGreaterThan(0.9);
    expect(conv!.devCoverage).toBeGreaterThan(0.5);
    expect(conv!.sizeBytes).toBe(student!.sizeBytes);
    expect(conv!.latencyUs).toBeGreaterThan(0n);
    expect(JSON.parse(conv!.hyperparameters)).toMatchObject({ widest: 3 });
    expect(transformer).toMatchObject({
      status: CandidateStatus.SKIPPED,
      reason: 'a cheaper student reached the goal',
      digest: '',
    });
    expect(new Set(progress.all.map(({ candidate }) => candidate))).toEqual(new Set(['bag', 'conv']));

    const { reads } = stage.pairStore;
    await stage.seal('run-2', PAIRS);
    const again = await trained.first(({ runId }) => runId === 'run-2');
    expect(again.candidates).toEqual(candidates);
    expect(stage.pairStore.reads).toBe(reads);
    const metrics = await (await fetch(`http://127.0.0.1:${service.metricsPort}/metrics`)).text();
    expect(metrics).toMatch(/^understudy_candidates_total\{.*family="conv",status="trained".*\} 1$/m);
    expect(metrics).toMatch(/^understudy_students_total\{.*family="conv",source="kept".*\} 1$/m);
    expect(metrics).toMatch(/^understudy_training_processes_total\{.*family="bag".*\} 1$/m);
    await service.stop();
  });

  it('is told of the best where no family reaches the goal', async () => {
    await using other = await Stage.set({ training: { families: ['bag'] } });
    await using told = new Heard(other.bus, 'student.trained');
    await other.pairStore.listen();
    const service = await other.startTrainer();
    await other.seal('run-1', PAIRS);
    const { student, candidates } = await told.first();
    expect(student?.family).toBe('bag');
    expect(candidates.map(({ status, digest }) => [status, digest])).toEqual([
      [CandidateStatus.TRAINED, student?.digest],
    ]);
    expect(candidates[0]!.devMargin).toBeLessThan(0);
    await service.stop();
  });
});

it('a trainer that is killed in the midst of a search goes on to the same student, and repeats no candidate', async () => {
  await using stage = await Stage.set(TASK);
  await using trained = new Heard(stage.bus, 'student.trained');
  await using progress = new Heard(stage.bus, 'training.progressed');
  await stage.pairStore.listen();
  // Train and dev of the first candidate; the second one waits for its pairs, however late it is killed.
  stage.pairStore.allowedReads = 2;
  const victim = spawn(process.execPath, [join(import.meta.dirname, 'main.ts')], {
    env: { ...process.env, ...stage.environment },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  await stage.seal('run-1', PAIRS);
  await stage.pairStore.someoneWaits;
  await kill(victim);
  expect(trained.all).toEqual([]);
  await expect.poll(async () => progress.all.length - (await stage.stored('training.progressed'))).toBe(0);
  const before = progress.all.length;
  stage.pairStore.open();

  const service = await stage.startTrainer();
  const { student, candidates } = await trained.first();
  expect(candidates.map(({ status }) => CandidateStatus[status])).toEqual(['TRAINED', 'TRAINED', 'SKIPPED']);
  expect(student?.digest).toBe(digest);
  expect(new Set(progress.all.slice(before).map(({ candidate }) => candidate))).toEqual(new Set(['conv']));
  await service.stop();
});

async function kill(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}
