/**
 * `npm run bench active -- --data DIR [--seeds N] [--calls N]`: how many of a teacher's answers a student needs that chooses what
 * to ask, to agree as often as one that is asked at random after N calls (6,000). `train.csv` (`text,category`) is the pool and its
 * categories play the teacher; agreement is counted on `test.csv`. The student is a bag; it is chosen by the very code of the prompt
 * service, in rounds. For each seed, random and active begin with the same texts; the calls needed are read off the line between
 * the rounds around the goal. The interval is Student's t over the seeds.
 */

import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { doubtOf } from '@understudy/prompt/selection/doubt';
import { pickBatch } from '@understudy/prompt/selection/pick';
import {
  type Example,
  labelHead,
  openBundle,
  type Prediction,
  StudentModel,
  type StudentTraining,
} from '@understudy/student';
import { argmax } from '@understudy/student/examples';
import { exportAt } from '@understudy/student/export-student';
import { seededOrder } from '@understudy/student/random';
import { trainCandidate } from '@understudy/student/train-student';
import { parse } from 'csv-parse/sync';
import { z } from 'zod';
import { report } from './report.ts';

const FIELD = 'category';
/** Rounds, as parts of the calls that random gets: half as much again each time is what a run's batches do, only finer. */
const ROUNDS = [0.1, 0.17, 0.27, 0.4, 0.5, 0.6, 0.7, 0.85];
/** Active needs at most this part of random's calls. */
const GOAL = 0.65;
/** One row in so many is also looked at for early stopping. */
const DEV_EVERY = 10;
/** Quantiles 0.975 of Student's t by degrees of freedom, from 1 on. */
const T_975 = [12.71, 4.3, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26];

const Rows = z.array(z.object({ text: z.string(), category: z.string() })).min(100);
type Row = z.infer<typeof Rows>[number];

const { values: options } = parseArgs({
  args: process.argv.slice(3),
  options: {
    data: { type: 'string' },
    seeds: { type: 'string', default: '5' },
    'first-seed': { type: 'string', default: '1' },
    calls: { type: 'string', default: '6000' },
  },
});

const readRows = (folder: string, name: string): Row[] =>
  Rows.parse(parse(readFileSync(join(folder, name)), { columns: true }));

interface Data {
  readonly labels: readonly string[];
  readonly pool: readonly Row[];
  readonly test: readonly Row[];
}

function trainingOf({ labels }: Data, rows: readonly Row[], seed: number): StudentTraining {
  const examples: Example[] = rows.map(({ text, category }) => ({
    text,
    target: [{ value: { kind: 'choice', index: labels.indexOf(category) } }],
    weight: 1,
  }));
  return {
    candidate: { family: 'bag', hyperparameters: {} },
    heads: [labelHead(FIELD, labels)],
    train: examples,
    dev: examples.filter((_, index) => index % DEV_EVERY === 0),
    seed,
    threads: availableParallelism(),
    lineage: {
      task: { name: 'bench', digest: '0'.repeat(64) },
      snapshotDigest: '0'.repeat(64),
      fingerprint: 'labels of a file',
    },
    onProgress: () => {},
  };
}

/** A student of the rows, and what it says about other texts. */
async function predictions(
  data: Data,
  rows: readonly Row[],
  seed: number,
  texts: readonly string[],
): Promise<Prediction[]> {
  const order = trainingOf(data, rows, seed);
  const { archive, digest } = await exportAt(order, await trainCandidate(order), 'float32');
  const model = await StudentModel.load(await openBundle(archive, digest), { threads: availableParallelism() });
  const predicted = await model.predict(texts);
  await model.release();
  return predicted;
}

function agreement({ labels, test }: Data, predicted: readonly Prediction[]): number {
  const agreeing = test.filter((row, index) => labels[argmax(predicted[index]?.logits[FIELD] ?? [])] === row.category);
  return agreeing.length / test.length;
}

interface Point {
  readonly calls: number;
  readonly agreement: number;
}

const rowsAt = ({ pool }: Data, indices: readonly number[]): Row[] => indices.map((index) => pool[index] as Row);
const textsOf = (rows: readonly Row[]): string[] => rows.map(({ text }) => text);

async function randomPoint(data: Data, order: readonly number[], calls: number, seed: number): Promise<Point> {
  const rows = rowsAt(data, order.slice(0, calls));
  const predicted = await predictions(data, rows, seed, textsOf(data.test));
  return { calls: rows.length, agreement: agreement(data, predicted) };
}

/** Rounds of asking, until a student agrees as often as the goal, or all are done. */
async function activePoints(
  data: Data,
  order: readonly number[],
  calls: number,
  seed: number,
  goal: number,
): Promise<Point[]> {
  const points: Point[] = [];
  const sizes = ROUNDS.map((part) => Math.round(part * calls));
  let asked = order.slice(0, sizes[0]);
  for (const next of [...sizes.slice(1), asked.length]) {
    const known = new Set(asked);
    const left = order.filter((index) => !known.has(index));
    const texts = [...textsOf(data.test), ...textsOf(rowsAt(data, left))];
    const predicted = await predictions(data, rowsAt(data, asked), seed, texts);
    const point = { calls: asked.length, agreement: agreement(data, predicted.slice(0, data.test.length)) };
    process.stderr.write(`seed ${seed}: ${point.calls} chosen calls, ${point.agreement.toFixed(4)}\n`);
    points.push(point);
    if (point.agreement >= goal || next <= asked.length) break;
    asked = [...asked, ...chosen(data, asked, left, predicted.slice(data.test.length), next - asked.length)];
  }
  return points;
}

function chosen(
  data: Data,
  asked: readonly number[],
  left: readonly number[],
  predicted: readonly Prediction[],
  count: number,
): number[] {
  const heads = [labelHead(FIELD, data.labels)];
  const candidates = rowsAt(data, left).map(({ text }, index) => ({
    text,
    doubt: doubtOf(predicted[index] as Prediction, heads, text),
  }));
  return pickBatch(candidates, textsOf(rowsAt(data, asked)), count).map((index) => left[index] as number);
}

/** Calls at which the line between rounds meets the goal; the last round's where none does. */
function callsNeeded(points: readonly Point[], goal: number): number {
  const at = points.findIndex((point) => point.agreement >= goal);
  const [before, after] = [points[at - 1], points[at]];
  if (after === undefined) return (points.at(-1) as Point).calls;
  if (before === undefined) return after.calls;
  const part = (goal - before.agreement) / (after.agreement - before.agreement);
  return before.calls + part * (after.calls - before.calls);
}

function meanWithInterval(values: readonly number[]): { mean: number; half: number | null } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  if (values.length < 2) return { mean, half: null };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
  return { mean, half: (T_975[values.length - 2] ?? 1.96) * Math.sqrt(variance / values.length) };
}

export async function run(): Promise<void> {
  const { data: folder } = options;
  if (!folder) throw new Error('npm run bench active -- --data DIR, with train.csv and test.csv (text,category)');
  const pool = readRows(folder, 'train.csv');
  const data: Data = {
    labels: [...new Set(pool.map(({ category }) => category))].sort(),
    pool,
    test: readRows(folder, 'test.csv'),
  };
  const [calls, first, seeds] = [Number(options.calls), Number(options['first-seed']), Number(options.seeds)];
  const lines: (readonly [string, string])[] = [];
  const [ratios, goals]: [number[], number[]] = [[], []];
  for (let seed = first; seed < first + seeds; seed += 1) {
    const order = [...seededOrder(seed, 'pool', pool.length)];
    const random = await randomPoint(data, order, calls, seed);
    process.stderr.write(`seed ${seed}: ${calls} random calls, ${random.agreement.toFixed(4)}\n`);
    const points = await activePoints(data, order, calls, seed, random.agreement);
    const needed = callsNeeded(points, random.agreement);
    ratios.push(needed / calls);
    goals.push(random.agreement);
    const reached = (points.at(-1) as Point).agreement >= random.agreement;
    const percent = `${(100 * random.agreement).toFixed(2)}%`;
    lines.push([
      `seed ${seed}`,
      `${percent} after ${calls} random calls; ${reached ? '' : 'not reached after '}${Math.round(needed)} chosen ones`,
    ]);
  }
  const ratio = meanWithInterval(ratios);
  const interval =
    ratio.half === null
      ? ''
      : ` (95%: ${(ratio.mean - ratio.half).toFixed(3)} to ${(ratio.mean + ratio.half).toFixed(3)})`;
  report(
    'active',
    [...lines, ['calls needed', `${ratio.mean.toFixed(3)} of random's${interval}; goal: at most ${GOAL}`]],
    {
      seeds,
      calls,
      random_agreement: meanWithInterval(goals).mean,
      calls_ratio: ratio.mean,
      calls_ratio_low: ratio.half === null ? null : ratio.mean - ratio.half,
      calls_ratio_high: ratio.half === null ? null : ratio.mean + ratio.half,
      goal: GOAL,
    },
  );
}
