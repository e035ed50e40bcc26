/**
 * `npm run bench students -- --data DIR [--encoder DIR [--train all|last-layers|heads]] [--few N] [--families bag,conv] [--holdout]`: each family on labelled
 * texts, `train.csv` and `test.csv` with `text,category`. Settings are the families' defaults, chosen with `--holdout`,
 * which trains on nine tenths of train, says what came of the last tenth and never opens test.csv. Without it a student
 * is trained on all of train, a tenth of which also plays dev, and is measured on test.
 * The encoder is left out without --encoder, a folder in Hugging Face layout: make-encoder.py writes one. --few N trains its
 * head on N texts of each category, drawn three times.
 * Coverage at 96.1% accuracy: the largest share of test that can be answered, the most confident first, with 96.1% right.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  type Candidate,
  type Example,
  type ExportedStudent,
  FAMILIES,
  type Family,
  labelHead,
  openBundle,
  StudentModel,
  type StudentTraining,
  trainStudent,
} from '@understudy/student';
import { argmax } from '@understudy/student/examples';
import { exportAt } from '@understudy/student/export-student';
import { TRAINED_PARTS } from '@understudy/student/family';
import { singleLatencies } from '@understudy/student/latencies';
import { probabilitiesOf } from '@understudy/student/policy';
import { seededOrder } from '@understudy/student/random';
import { rankByConfidence } from '@understudy/student/statistics/ranking';
import { trainCandidate } from '@understudy/student/train-student';
import { parse } from 'csv-parse/sync';
import { z } from 'zod';
import { type Figures, median, report } from './report.ts';

/** One train row in so many is dev. */
const DEV_EVERY = 10;
const WANTED_ACCURACY = 0.961;
const TIMED_ANSWERS = 2_000;
/** Draws of a few examples whose accuracies are averaged. */
const FEW_DRAWS = 3;
const FIELD = 'category';

const Rows = z.array(z.object({ text: z.string(), category: z.string() })).min(2);
type Row = z.infer<typeof Rows>[number];

type Data = { readonly labels: readonly string[]; readonly train: readonly Row[]; readonly test: readonly Row[] };

function readRows(folder: string, name: string): Row[] {
  const parsed = Rows.safeParse(parse(readFileSync(join(folder, name)), { columns: true }));
  if (parsed.success) return parsed.data;
  throw new Error(`${join(folder, name)}: expected the columns text,category and at least two rows`, {
    cause: parsed.error,
  });
}

const examplesOf = (rows: readonly Row[], labels: readonly string[]): Example[] =>
  rows.map(({ text, category }) => ({
    text,
    target: [{ value: { kind: 'choice', index: labels.indexOf(category) } }],
    weight: 1,
  }));

type Quality = { readonly accuracy: number; readonly coverage: number };

/** Accuracy, and coverage at the wanted accuracy, of a student on texts whose category is known. */
async function qualityOf(student: ExportedStudent, rows: readonly Row[], labels: readonly string[]): Promise<Quality> {
  const model = await StudentModel.load(await openBundle(student.archive, student.digest), { threads: 1 });
  const answers = (await model.predict(rows.map(({ text }) => text))).map(({ logits }, i) => {
    const probabilities = probabilitiesOf(logits[FIELD] as Float32Array, 1);
    const answer = argmax(probabilities);
    return { confidence: probabilities[answer] as number, right: labels[answer] === rows[i]?.category };
  });
  await model.release();
  const ranking = rankByConfidence(
    answers.map(({ confidence }) => confidence),
    answers.map(({ right }) => right),
  );
  let covered = 0;
  for (let count = 1; count <= ranking.pairs; count++) {
    if (ranking.agreeing(count) / count >= WANTED_ACCURACY) covered = count;
  }
  return { accuracy: ranking.agreeing(ranking.pairs) / ranking.pairs, coverage: covered / ranking.pairs };
}

/** Microseconds of an answer: the median of many, one at a time, on one thread. */
async function answerMicroseconds({ archive, digest }: ExportedStudent, rows: readonly Row[]): Promise<number> {
  const model = await StudentModel.load(await openBundle(archive, digest), { threads: 1 });
  const texts = rows.map(({ text }) => text);
  const milliseconds = await singleLatencies(model, texts, TIMED_ANSWERS);
  await model.release();
  return 1_000 * median(milliseconds);
}

const options = parseArgs({
  args: process.argv.slice(3),
  options: {
    data: { type: 'string' },
    encoder: { type: 'string' },
    train: { type: 'string', default: 'all' },
    few: { type: 'string' },
    families: { type: 'string', default: FAMILIES.join(',') },
    holdout: { type: 'boolean', default: false },
    set: { type: 'string', multiple: true, default: [] },
    seed: { type: 'string', default: '1' },
  },
}).values;

const training = (candidate: Candidate, data: Data, train: readonly Row[], dev: readonly Row[]): StudentTraining => ({
  candidate,
  heads: [labelHead(FIELD, data.labels)],
  train: examplesOf(train, data.labels),
  dev: examplesOf(dev, data.labels),
  seed: Number(options.seed),
  threads: availableParallelism(),
  lineage: {
    task: { name: 'bench', digest: '0'.repeat(64) },
    snapshotDigest: '0'.repeat(64),
    fingerprint: 'labels of a file',
  },
  onProgress: ({ epoch, epochs, step, steps, loss, devAgreement }) => {
    if (step % Math.ceil(steps / epochs) !== 0) return;
    const dev = devAgreement === undefined ? '' : `, ${devAgreement.toFixed(4)} on dev`;
    process.stderr.write(`${candidate.family}: epoch ${epoch} of ${epochs}, loss ${loss.toFixed(4)}${dev}\n`);
  },
});

const isDev = (_: Row, i: number): boolean => i % DEV_EVERY === 0;

/** `--set name=value`: settings to try on the holdout. */
const settings = (): Record<string, number> =>
  Object.fromEntries(
    options.set.map((pair) => {
      const [name = '', value = ''] = pair.split('=');
      return [name, Number(value)];
    }),
  );

function candidateOf(family: Family): Candidate | undefined {
  const candidate = { family, hyperparameters: settings() };
  if (family !== 'encoder') return candidate;
  if (!options.encoder) return undefined;
  const train = z.enum(TRAINED_PARTS).parse(options.train);
  return { ...candidate, encoder: { folder: options.encoder, train } };
}

/** What a candidate comes to on the tenth of train that it is not trained on. */
async function holdOut(candidate: Candidate, data: Data): Promise<void> {
  const dev = data.train.filter(isDev);
  const started = performance.now();
  const student = await trainStudent(
    training(
      candidate,
      data,
      data.train.filter((row, i) => !isDev(row, i)),
      dev,
    ),
  );
  const seconds = (performance.now() - started) / 1_000;
  const { accuracy, coverage } = await qualityOf(student, dev, data.labels);
  const { precision, devLoss, training: how } = student.description;
  const figures = { accuracy, coverage, devLoss, seconds, precision, epochs: how.epochs.length };
  process.stdout.write(`${candidate.family} on the holdout ${JSON.stringify(figures)}\n`);
}

type Line = readonly [string, string];

async function measureFamily(candidate: Candidate, data: Data): Promise<{ lines: Line[]; figures: Figures }> {
  const { family } = candidate;
  const order = training(candidate, data, data.train, data.train.filter(isDev));
  const started = performance.now();
  const trained = await trainCandidate(order);
  const seconds = (performance.now() - started) / 1_000;
  const [float, int8] = [await exportAt(order, trained, 'float32'), await exportAt(order, trained, 'int8')];
  const { accuracy, coverage } = await qualityOf(float, data.test, data.labels);
  const small = await qualityOf(int8, data.test, data.labels);
  const microseconds = await answerMicroseconds(int8, data.test);
  const [megabytes, smallMegabytes] = [float.archive.length / 1e6, int8.archive.length / 1e6];
  const percent = (share: number): string => `${(100 * share).toFixed(2)}%`;
  return {
    lines: [
      [`${family}: test accuracy`, `${percent(accuracy)}, with int8 weights ${percent(small.accuracy)}`],
      [`${family}: coverage at 96.1%`, `${percent(coverage)}, with int8 weights ${percent(small.coverage)}`],
      [`${family}: training`, `${seconds.toFixed(1)} s`],
      [`${family}: bundle`, `${megabytes.toFixed(1)} MB, with int8 weights ${smallMegabytes.toFixed(1)} MB`],
      [`${family}: an answer`, `${microseconds.toFixed(0)} µs (int8, one thread, median)`],
    ],
    figures: {
      [`${family}_accuracy`]: accuracy,
      [`${family}_coverage_at_961`]: coverage,
      [`${family}_train_s`]: seconds,
      [`${family}_megabytes`]: megabytes,
      [`${family}_int8_accuracy`]: small.accuracy,
      [`${family}_int8_megabytes`]: smallMegabytes,
      [`${family}_answer_us`]: microseconds,
    },
  };
}

/** So many train rows of each category, drawn by seed. */
function draw(data: Data, perLabel: number, seed: number): Row[] {
  const drawn = new Map<string, Row[]>(data.labels.map((label) => [label, []]));
  for (const index of seededOrder(seed, 'few examples', data.train.length)) {
    const row = data.train[index] as Row;
    const rows = drawn.get(row.category) as Row[];
    if (rows.length < perLabel) rows.push(row);
  }
  return [...drawn.values()].flat();
}

/** Test accuracy of a frozen encoder with a head of few examples, which are their own dev; mean of several draws. */
async function measureFew(folder: string, perLabel: number, data: Data): Promise<{ lines: Line[]; figures: Figures }> {
  const candidate: Candidate = { family: 'encoder', encoder: { folder, train: 'heads' } };
  const accuracies: number[] = [];
  for (let seed = 1; seed <= FEW_DRAWS; seed++) {
    const rows = draw(data, perLabel, seed);
    const student = await trainStudent(training(candidate, data, rows, rows));
    accuracies.push((await qualityOf(student, data.test, data.labels)).accuracy);
  }
  const mean = accuracies.reduce((sum, accuracy) => sum + accuracy, 0) / accuracies.length;
  const each = accuracies.map((accuracy) => `${(100 * accuracy).toFixed(2)}%`).join(', ');
  return {
    lines: [[`encoder: ${perLabel} examples a label`, `${(100 * mean).toFixed(2)}% (${each})`]],
    figures: { encoder_few_accuracy: mean },
  };
}

export async function run(): Promise<void> {
  const folder = options.data;
  if (!folder) throw new Error('npm run bench students -- --data DIR, with train.csv and test.csv (text,category)');
  const train = readRows(folder, 'train.csv');
  const labels = [...new Set(train.map(({ category }) => category))].sort();
  const data = { labels, train, test: options.holdout ? [] : readRows(folder, 'test.csv') };
  const lines: Line[] = [];
  const figures: Figures = {};
  const add = (measured: { lines: Line[]; figures: Figures }): void => {
    lines.push(...measured.lines);
    Object.assign(figures, measured.figures);
  };
  for (const family of FAMILIES.filter((name) => options.families.split(',').includes(name))) {
    const candidate = candidateOf(family);
    if (!candidate) {
      process.stderr.write('encoder: left out; --encoder DIR names a folder in Hugging Face layout\n');
      continue;
    }
    if (options.holdout) await holdOut(candidate, data);
    else add(await measureFamily(candidate, data));
  }
  if (options.few && options.encoder && !options.holdout) {
    add(await measureFew(options.encoder, Number(options.few), data));
  }
  if (!options.holdout) report('students', lines, figures);
}
