/**
 * Trains a student on labelled CSV files and says how good, small and fast it is:
 *   node packages/student/bench.ts --train train.csv --test test.csv [--seed 1] [--threads 2]
 * The files have a header, `text,category`. One train row in ten is dev; test is only looked at in the end.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { parse } from 'csv-parse/sync';
import { z } from 'zod';
import { exportBag } from './bag/export.ts';
import { trainBag } from './bag/train.ts';
import { openBundle } from './bundle.ts';
import { argmax, type Example } from './examples.ts';
import { probabilitiesOf } from './policy.ts';
import { StudentModel } from './student-model.ts';

const DEV_SHARE = 0.1;
/** The confidence that coverage is reported at is the lowest that keeps accuracy at this. */
const WANTED_ACCURACY = 0.95;
const MICRO_BATCHES = [1, 8, 32];
const MEASURED_MS = 2_000;

const { values: options } = parseArgs({
  options: {
    train: { type: 'string' },
    test: { type: 'string' },
    seed: { type: 'string', default: '1' },
    threads: { type: 'string', default: String(availableParallelism()) },
  },
});

const Rows = z.array(z.object({ text: z.string(), category: z.string() })).min(1);
const read = (file = ''): z.infer<typeof Rows> => Rows.parse(parse(readFileSync(file), { columns: true }));

async function coverageAt(
  student: StudentModel,
  test: readonly Example[],
): Promise<{ accuracy: number; coverage: number }> {
  const predictions = await student.predict(test.map(({ text }) => text));
  const answers = predictions.map((prediction, i) => {
    const probabilities = probabilitiesOf(prediction.category as Float32Array, 1);
    const answer = argmax(probabilities);
    return { confidence: probabilities[answer] as number, right: answer === argmax((test[i] as Example).target) };
  });
  const accuracy = answers.filter(({ right }) => right).length / answers.length;
  let [right, covered] = [0, 0];
  for (const [i, answer] of answers.toSorted((a, b) => b.confidence - a.confidence).entries()) {
    right += Number(answer.right);
    if (right / (i + 1) >= WANTED_ACCURACY) covered = i + 1;
  }
  return { accuracy, coverage: covered / answers.length };
}

async function textsPerSecond(student: StudentModel, texts: readonly string[], batch: number): Promise<number> {
  const started = performance.now();
  let count = 0;
  for (; performance.now() - started < MEASURED_MS; count += batch) {
    const start = count % (texts.length - batch);
    await student.predict(texts.slice(start, start + batch));
  }
  return (1_000 * count) / (performance.now() - started);
}

const [trainRows, testRows] = [read(options.train), read(options.test)];
const labels = [...new Set(trainRows.map(({ category }) => category))].sort();
const example = ({ text, category }: { text: string; category: string }): Example => ({
  text,
  target: labels.map((label) => (label === category ? 1 : 0)),
  weight: 1,
});
const isDev = (_: unknown, i: number): boolean => i % Math.round(1 / DEV_SHARE) === 0;
const train = trainRows.filter((row, i) => !isDev(row, i)).map(example);
const dev = trainRows.filter(isDev).map(example);
const test = testRows.map(example);

const started = { at: performance.now(), cpu: process.cpuUsage() };
const trained = await trainBag({
  labels,
  train,
  dev,
  seed: Number(options.seed),
  threads: Number(options.threads),
  onProgress: ({ epoch, step, steps, loss, devAgreement }) => {
    if (step % Math.ceil(steps / 20) === 0) console.log({ epoch, step, steps, loss, devAgreement });
  },
});
const trainSeconds = (performance.now() - started.at) / 1_000;
const cpu = process.cpuUsage(started.cpu);
const lineage = {
  task: { name: 'bench', digest: '0'.repeat(64) },
  snapshotDigest: '0'.repeat(64),
  fingerprint: 'labels of a file',
};
const exported = await exportBag({ trained, field: 'category', train, dev, lineage });
const student = await StudentModel.load(await openBundle(exported.archive, exported.digest), { threads: 1 });
const figures: Record<string, string | number> = {
  train_seconds: trainSeconds.toFixed(1),
  train_cpu_seconds: ((cpu.user + cpu.system) / 1_000_000).toFixed(1),
  train_examples: train.length,
  dev_agreement: trained.best.devAgreement.toFixed(4),
  precision: exported.description.precision,
  bundle_bytes: exported.archive.length,
  digest: exported.digest.slice(0, 16),
};
const { accuracy, coverage } = await coverageAt(student, test);
figures.test_accuracy = accuracy.toFixed(4);
figures[`coverage_at_${WANTED_ACCURACY}`] = coverage.toFixed(4);
const longTexts = test.map((_, i) => `${test[i]?.text} ${test[(i + 1) % test.length]?.text}`.repeat(4).slice(0, 200));
for (const batch of MICRO_BATCHES) {
  figures[`texts_per_second_batch_${batch}`] = Math.round(await textsPerSecond(student, longTexts, batch));
}
console.table(figures);
