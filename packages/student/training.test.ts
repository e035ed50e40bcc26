import { beforeAll, describe, expect, it } from 'vitest';
import type { CheckpointError } from './errors.ts';
import { TrainingError } from './errors.ts';
import type { Example } from './examples.ts';
import type { Candidate, StudentTraining, TrainingReport } from './family.ts';
import { bestOf } from './stopping.ts';
import { SMALL, smallOptions, smallStudent, smallTask, softTarget } from './testing.ts';
import { trainStudent } from './train-student.ts';

/** The label that the teacher gave. */
const answerOf = ({ target: [topic] }: Example): number | undefined =>
  topic?.value.kind === 'choice' ? topic.value.index : undefined;

/** A small bag with other settings. */
const bag = (settings: Record<string, number>): Candidate => ({
  family: 'bag',
  hyperparameters: { ...SMALL, ...settings },
});

/** Keeps every checkpoint that was saved; `load` gives the newest. */
function memoryStore() {
  const saved: Uint8Array[] = [];
  return { saved, load: async () => saved.at(-1), save: async (bytes: Uint8Array) => void saved.push(bytes) };
}

/** Runs a training until it has saved `count` checkpoints, then stops it as a kill would: nothing more is saved. */
async function killedAfter(
  count: number,
  options: Partial<StudentTraining> = {},
): Promise<ReturnType<typeof memoryStore>> {
  const store = memoryStore();
  const killer = new AbortController();
  const save = async (bytes: Uint8Array): Promise<void> => {
    await store.save(bytes);
    if (store.saved.length === count) killer.abort(new Error('killed'));
  };
  const checkpoints = { ...store, save };
  const training = trainStudent(smallOptions({ ...options, checkpoints, signal: killer.signal }));
  await expect(training).rejects.toThrow('killed');
  return store;
}

describe('a trained student', () => {
  it('learns the task, and reports how', async () => {
    const reports: TrainingReport[] = [];
    const { description } = await smallStudent({ onProgress: (report) => reports.push(report) });
    const history = description.training.epochs;
    expect(description.devAgreement).toBeGreaterThan(0.95);
    expect(history.map(({ epoch }) => epoch)).toEqual([1, 2, 3]);
    expect(history[2]?.loss).toBeLessThan(history[0]?.loss ?? 0);
    expect(reports.at(-1)).toMatchObject({ epoch: 3, epochs: 3, step: 288, steps: 288 });
    expect(reports.at(-1)?.devAgreement).toBe(history.at(-1)?.devAgreement);
  });

  it('is the same bundle again from the same seed, and another one from another seed', async () => {
    const [first, again, other] = [await smallStudent(), await smallStudent(), await smallStudent({ seed: 8 })];
    expect(again.digest).toBe(first.digest);
    expect(other.digest).not.toBe(first.digest);
  });

  it('stops when dev has not improved for the patience given', async () => {
    const { description } = await smallStudent({ candidate: bag({ epochs: 40, patienceEpochs: 2 }) });
    const history = description.training.epochs;
    expect(history.length).toBeLessThan(40);
    expect(bestOf(history)?.epoch).toBeLessThan(history.length);
  });
});

describe('a training that was killed', () => {
  let whole: string;
  beforeAll(async () => {
    whole = (await smallStudent()).digest;
  });

  // Checkpoints are saved every 100 steps; an epoch has 96, so both are in the middle of one.
  it.each([
    [1, 100],
    [2, 200],
  ])('goes on from checkpoint %i, after %i steps, to the same bundle', async (count, after) => {
    const store = await killedAfter(count);
    const steps: number[] = [];
    const resumed = await smallStudent({ checkpoints: store, onProgress: ({ step }) => steps.push(step) });
    expect(steps[0]).toBe(after + 20);
    expect(resumed.digest).toBe(whole);
  });

  it('goes on from the last step of an epoch', async () => {
    const options = { train: smallTask().train.slice(0, 100), candidate: bag({ batchTexts: 1, epochs: 2 }) };
    const undisturbed = await smallStudent(options);
    const store = await killedAfter(1, options);
    const steps: number[] = [];
    const resumed = await smallStudent({ ...options, checkpoints: store, onProgress: ({ step }) => steps.push(step) });
    expect(steps.slice(0, 2)).toEqual([100, 120]);
    expect(resumed.digest).toBe(undisturbed.digest);
  });

  const damages: Record<string, (bytes: Uint8Array) => Uint8Array> = {
    'cut off': (bytes) => bytes.slice(0, bytes.length / 2),
    'with a flipped bit': (bytes) => bytes.map((byte, i) => (i === bytes.length - 20_000 ? byte ^ 1 : byte)),
    empty: () => new Uint8Array(),
  };
  it.each(Object.entries(damages))('starts over from a checkpoint that is %s', async (_, damage) => {
    const store = await killedAfter(1);
    const refusals: CheckpointError[] = [];
    const resumed = await smallStudent({
      checkpoints: { save: store.save, load: async () => damage(store.saved.at(-1) as Uint8Array) },
      onCheckpointRefused: (error) => refusals.push(error),
    });
    expect(refusals.map(({ message }) => message)).toEqual(['the checkpoint is damaged']);
    expect(resumed.digest).toBe(whole);
  });

  it('does not take the checkpoint of another training', async () => {
    const store = await killedAfter(1);
    const refusals: CheckpointError[] = [];
    await trainStudent(
      smallOptions({ seed: 8, checkpoints: store, onCheckpointRefused: (error) => refusals.push(error) }),
    );
    expect(refusals[0]?.message).toContain('belongs to training');
  });
});

describe('a training is refused', () => {
  const { train, dev } = smallTask();
  const one = train[0] as Example;
  const cases: [string, { train?: Example[]; dev?: Example[] }, string][] = [
    ['no-examples', { train: [] }, 'no train example'],
    ['no-examples', { dev: [] }, 'no dev example'],
    ['one-label', { train: train.filter((example) => answerOf(example) === 1) }, 'the teacher gave "parcel" for all'],
    [
      'bad-example',
      { train: [...train, { ...one, target: [softTarget([0.5, 0.5])] }] },
      `train example ${train.length}: expected 3`,
    ],
    [
      'bad-example',
      { dev: [{ ...one, target: [softTarget([0.5, 0.5, 0.5])] }] },
      'no probabilities that add up to one',
    ],
    [
      'bad-example',
      { dev: [{ ...one, target: [{ ...softTarget([1, 0, 0]), probabilities: [Number.NaN, 0.5, 0.5] }] }] },
      'no probabilities that add up to one',
    ],
    ['bad-example', { train: [{ ...one, weight: 0 }] }, 'expected a weight above 0'],
  ];
  it.each(cases)('as %s: %o', async (code, change, message) => {
    const training = trainStudent(smallOptions({ train, dev, ...change }));
    await expect(training).rejects.toMatchObject({ name: 'TrainingError', code });
    await expect(training).rejects.toThrow(message);
  });

  it('when the loss is no longer a number', async () => {
    const training = smallStudent({ candidate: bag({ learningRate: 1e38 }) });
    await expect(training).rejects.toThrow(TrainingError);
    await expect(training).rejects.toMatchObject({ code: 'diverged' });
  });

  it('between two steps when it is aborted', async () => {
    const signal = AbortSignal.abort(new Error('the run was cancelled'));
    await expect(trainStudent(smallOptions({ signal }))).rejects.toThrow('the run was cancelled');
  });
});

describe.each(['bag', 'conv', 'transformer'] as const)('a %s student of scarce answers', (family) => {
  const { train, dev } = smallTask();
  const isPassword = (example: Example): boolean => answerOf(example) === 2;
  const settings = family === 'bag' ? SMALL : { vocabulary: 300, width: 16, batchTexts: 8, epochs: 3 };
  const candidate: Candidate = { family, hyperparameters: settings };
  const others = train.filter((example) => !isPassword(example));

  it('is trained where a label has one example', async () => {
    const one = train.find(isPassword) as Example;
    const { description } = await smallStudent({ candidate, train: [...others, one] });
    expect(description.devAgreement).toBeGreaterThan(0.5);
  });

  it('is trained where a label has none: dev then shows what it cannot know', async () => {
    const { description } = await smallStudent({ candidate, train: others });
    const known = dev.filter((example) => !isPassword(example)).length / dev.length;
    expect(description.devAgreement).toBeGreaterThan(0.5);
    expect(description.devAgreement).toBeLessThan(known + 0.02);
  });

  it('is trained among texts that are empty, or a megabyte long', async () => {
    const [first, second, ...rest] = train as [Example, Example, ...Example[]];
    const odd = [
      { ...first, text: '' },
      { ...second, text: 'where is my delivery '.repeat(50_000) },
    ];
    const { description } = await smallStudent({ candidate, train: [...odd, ...rest] });
    expect(description.devAgreement).toBeGreaterThan(0.7);
  });
});
