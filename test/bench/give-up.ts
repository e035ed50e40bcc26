/**
 * `npm run bench give-up -- --data DIR [--seeds N] [--prompts N]`: how often the evaluator gives up on a task after a first batch of so many
 * prompts (900: of a budget of 6,000 calls), where it should and where it should not. The texts are those of `train.csv` and `test.csv`
 * (`text,category`); the teacher gives their categories (Banking77: a bag reaches 0.93 at 80% with 6,000 calls, just so), those with 5% of
 * the answers drawn at random, a coin toss of two labels, or one of as many labels as there are. Curves are the trainer's (a bag on parts
 * of train, measured on dev and on what the part leaves over), and the evaluator's own code decides.
 */
import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { isHopeless, learningCurveOf } from '@understudy/evaluator/learning-curve';
import { labelHead, openBundle, StudentModel, trainStudent } from '@understudy/student';
import { seededOrder } from '@understudy/student/random';
import { levelOfLook } from '@understudy/student/statistics/level';
import { outputPlan } from '@understudy/task/output/plan';
import { PARTS } from '@understudy/trainer/search/curve';
import { barOf, measureDev } from '@understudy/trainer/search/measure';
import { FIELD, readTexts, type Texts } from './goals/banking.ts';
import { report } from './report.ts';

const GOALS = [0.9, 0.93, 0.95, 0.97];
const [COVERAGE, CONFIDENCE] = [0.8, 0.95];
/** A first batch is this part of the budget. */
const FIRST_SHARE = 0.15;

interface Teacher {
  readonly labels: readonly string[];
  readonly given: readonly number[];
}

const hash = (text: string): number => createHash('sha256').update(text).digest().readUInt32BE();

const teachers: Record<string, (all: Texts) => Teacher> = {
  categories: ({ labels, given }) => ({ labels, given }),
  'noisy, 5%': ({ labels, given, texts }) => ({
    labels,
    given: given.map((index, at) =>
      hash(`noise ${texts[at]}`) % 20 === 0 ? hash(`label ${texts[at]}`) % labels.length : index,
    ),
  }),
  'coin toss': ({ texts }) => ({ labels: ['heads', 'tails'], given: texts.map((text) => hash(text) % 2) }),
  'many-sided die': ({ labels, texts }) => ({ labels, given: texts.map((text) => hash(text) % labels.length) }),
};

/** The evaluator's learning curve of each goal. */
async function curves(all: Texts, { labels, given }: Teacher, prompts: number, seed: number) {
  const [devPairs, testPairs] = [Math.round(0.1 * prompts), Math.round(0.2 * prompts)];
  const order = [...seededOrder(seed, 'sample of bench give-up', all.texts.length)].slice(0, prompts - testPairs);
  const [dev, train] = [order.slice(0, devPairs), order.slice(devPairs)];
  const properties = { [FIELD]: { enum: labels } };
  const plan = outputPlan({ type: 'object', properties, required: [FIELD], additionalProperties: false });
  const pairsOf = (indices: readonly number[]) =>
    indices.map((at) => ({ text: all.texts[at]!, answerJson: JSON.stringify({ [FIELD]: labels[given[at]!] }) }));
  const examplesOf = (indices: readonly number[]) =>
    indices.map((at) => ({
      text: all.texts[at]!,
      target: [{ value: { kind: 'choice' as const, index: given[at]! } }],
      weight: 1,
    }));
  const points = GOALS.map((): { trainPairs: number; covered: number; agreeing: number }[] => []);
  for (const part of [...PARTS, 1]) {
    const learnt = Math.floor(train.length / part);
    const { archive, digest } = await trainStudent({
      candidate: { family: 'bag' },
      heads: [labelHead(FIELD, labels)],
      ...{ train: examplesOf(train.slice(0, learnt)), dev: examplesOf(dev) },
      ...{ seed, threads: availableParallelism(), onProgress: () => {} },
      lineage: {
        task: { name: 'bench', digest: '0'.repeat(64) },
        snapshotDigest: '0'.repeat(64),
        fingerprint: 'labels',
      },
    });
    const student = await StudentModel.load(await openBundle(archive, digest), { threads: availableParallelism() });
    const pairs = pairsOf([...dev, ...train.slice(learnt)]);
    const predictions = await student.predict(pairs.map(({ text }) => text));
    await student.release();
    for (const [at, agreement] of GOALS.entries()) {
      const bar = barOf({ agreement, coverage: COVERAGE, confidence: CONFIDENCE }, devPairs, testPairs);
      points[at]!.push({ trainPairs: learnt, ...measureDev(plan, predictions, pairs, bar).ahead });
    }
  }
  const snapshot = { digest: '', fingerprint: '', trainPairs: train.length, devPairs, testPairs };
  return GOALS.map((agreement, at) =>
    learningCurveOf({
      turn: { curve: points[at]!, snapshot },
      goal: { agreement },
      budget: { calls: Math.round(prompts / FIRST_SHARE), usd: 0 },
      usdPerPair: 0,
      level: levelOfLook(1 - CONFIDENCE, 1),
    }),
  );
}

export async function run(): Promise<void> {
  const { values } = parseArgs({
    args: process.argv.slice(3),
    options: {
      data: { type: 'string' },
      seeds: { type: 'string', default: '10' },
      prompts: { type: 'string', default: '900' },
    },
  });
  if (!values.data) throw new Error('expected --data with the folder of train.csv and test.csv');
  const [seeds, prompts] = [Number(values.seeds), Number(values.prompts)];
  const all = readTexts(values.data);
  const rows: [string, string][] = [];
  const figures: Record<string, number> = { seeds, prompts };
  for (const [name, teacherOf] of Object.entries(teachers)) {
    const given = GOALS.map(() => 0);
    for (let seed = 1; seed <= seeds; seed += 1) {
      const found = await curves(all, teacherOf(all), prompts, seed);
      for (const [at, curve] of found.entries()) if (curve && isHopeless(curve)) given[at]! += 1;
      process.stderr.write(`${name}, seed ${seed}: ${found.map((curve) => curve?.hope.reaches).join(' ')}\n`);
    }
    for (const [at, goal] of GOALS.entries()) figures[`${name.replaceAll(/\W+/g, '_')}_${goal}`] = given[at]! / seeds;
    rows.push([name, GOALS.map((goal, at) => `goal ${goal}: ${given[at]} of ${seeds}`).join(', ')]);
  }
  report(`give-up, after ${prompts} prompts`, rows, figures);
}
