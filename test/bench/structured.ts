/**
 * `npm run bench structured -- --data DIR [--encoder DIR [--train heads|last-layers|all]] [--families bag,conv] [--parts N]`:
 * each family on texts with a set of intents and with slots copied from the text, `fold*.json`; all fields are answered by
 * one student. Cross-validation: the files in five groups, each of which plays test once; of the other texts, every
 * fifth is dev, which chooses epoch, temperatures and threshold. Settings are the families' defaults.
 * F1 is micro F1 over what answers assert. A whole answer agrees where all fields do. Deferred: the threshold is the
 * lowest from which on dev agrees with the goal's share, and what is below it goes to the teacher, who is always right
 * here; coverage is what stays. --encoder, or UNDERSTUDY_BENCH_ENCODER, is a folder in Hugging Face layout. --parts N stops after N groups.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import {
  type Candidate,
  decide,
  type Example,
  type ExportedStudent,
  FAMILIES,
  type Family,
  openBundle,
  type Policy,
  StudentModel,
  trainStudent,
} from '@understudy/student';
import { TRAINED_PARTS } from '@understudy/student/family';
import { fitTemperatures } from '@understudy/student/heads/calibrate';
import { singleLatencies } from '@understudy/student/latencies';
import { rankByConfidence } from '@understudy/student/statistics/ranking';
import type { OutputPlan } from '@understudy/task';
import { z } from 'zod';
import { type Figures, median, report } from './report.ts';
import { type Answered, type Data, readData } from './structured-data.ts';

const PARTS = 5;
const DEV_EVERY = 5;
/** Agreement that dev has to show above the threshold. */
const GOAL = 0.9;
const TIMED_ANSWERS = 500;
/** What one student of all fields may take. */
const SMALL_MEGABYTES = 5;
const INTENTS = 'intents';

const options = parseArgs({
  args: process.argv.slice(3),
  options: {
    data: { type: 'string' },
    encoder: { type: 'string', default: process.env.UNDERSTUDY_BENCH_ENCODER },
    train: { type: 'string', default: 'heads' },
    families: { type: 'string', default: FAMILIES.join(',') },
    parts: { type: 'string', default: String(PARTS) },
    set: { type: 'string', multiple: true, default: [] },
  },
}).values;

/** How often something was asserted rightly, wrongly, and not at all. */
type Counts = { right: number; wrong: number; missed: number };
const f1 = ({ right, wrong, missed }: Counts): number => (2 * right) / Math.max(1, 2 * right + wrong + missed);

/** What became of the texts of test, over all parts. */
class Tally {
  readonly fields = new Map<string, Counts>();
  texts = 0;
  whole = 0;
  covered = 0;
  coveredAgreeing = 0;

  add(plan: OutputPlan, { answerJson }: Answered, { answer, confident }: ReturnType<typeof decide>): void {
    this.texts += 1;
    if (answer === undefined) return;
    const agrees = plan.agreement(answer, answerJson).whole;
    if (agrees) this.whole += 1;
    if (confident) this.covered += 1;
    if (confident && agrees) this.coveredAgreeing += 1;
    const [given, wanted] = [plan.items(answer), plan.items(answerJson)];
    for (const { name } of plan.heads) this.#count(name, given[name] ?? [], wanted[name] ?? []);
  }

  #count(name: string, given: readonly string[], wanted: readonly string[]): void {
    const counts = this.fields.get(name) ?? { right: 0, wrong: 0, missed: 0 };
    const right = given.filter((item) => wanted.includes(item)).length;
    counts.right += right;
    counts.wrong += given.length - right;
    counts.missed += wanted.length - right;
    this.fields.set(name, counts);
  }

  of(isWanted: (name: string) => boolean): Counts {
    const sum = { right: 0, wrong: 0, missed: 0 };
    for (const [name, { right, wrong, missed }] of this.fields) {
      if (!isWanted(name)) continue;
      sum.right += right;
      sum.wrong += wrong;
      sum.missed += missed;
    }
    return sum;
  }
}

const examplesOf = (answered: readonly Answered[]): Example[] =>
  answered.map(({ text, target }) => ({ text, target, weight: 1 }));

function train(candidate: Candidate, plan: OutputPlan, texts: readonly Answered[]): Promise<ExportedStudent> {
  return trainStudent({
    candidate,
    heads: plan.heads,
    train: examplesOf(texts.filter((_, i) => i % DEV_EVERY !== 0)),
    dev: examplesOf(texts.filter((_, i) => i % DEV_EVERY === 0)),
    seed: 1,
    threads: availableParallelism(),
    maxBytes: 1e6 * SMALL_MEGABYTES,
    lineage: {
      task: { name: 'bench', digest: '0'.repeat(64) },
      snapshotDigest: '0'.repeat(64),
      fingerprint: 'answers of a file',
    },
    onProgress: ({ epoch, epochs, step, steps, loss, devAgreement }) => {
      if (step % Math.ceil(steps / epochs) !== 0) return;
      const dev = devAgreement === undefined ? '' : `, ${devAgreement.toFixed(4)} on dev`;
      process.stderr.write(`${candidate.family}: epoch ${epoch} of ${epochs}, loss ${loss.toFixed(4)}${dev}\n`);
    },
  });
}

/** Temperatures and threshold, both from dev alone. */
async function policyOf(model: StudentModel, plan: OutputPlan, dev: readonly Answered[]): Promise<Policy> {
  const predictions = await model.predict(dev.map(({ text }) => text));
  const given = dev.map(({ target }, i) => ({ prediction: predictions[i]!, values: target.map(({ value }) => value) }));
  const heads = fitTemperatures(plan.heads, given);
  const open: Policy = { version: 2, studentDigest: model.digest, heads, threshold: 0 };
  const decisions = predictions.map((prediction, i) => decide(prediction, open, plan, (dev[i] as Answered).text));
  const ranking = rankByConfidence(
    decisions.map(({ confidence }) => confidence),
    decisions.map(
      ({ answer }, i) => answer !== undefined && plan.agreement(answer, (dev[i] as Answered).answerJson).whole,
    ),
  );
  let covered = 0;
  for (let count = 1; count <= ranking.pairs; count++) if (ranking.agreeing(count) / count >= GOAL) covered = count;
  return { ...open, threshold: covered === 0 ? 2 : ranking.confidence(covered - 1) };
}

type Line = readonly [string, string];
const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;

/** Cross-validates a candidate. */
async function measure(candidate: Candidate, { plan, folds }: Data): Promise<{ lines: Line[]; figures: Figures }> {
  const { family } = candidate;
  const tally = new Tally();
  const [seconds, megabytes, microseconds]: number[][] = [[], [], []];
  for (let part = 0; part < Number(options.parts); part++) {
    const test = folds.flatMap((fold, i) => (i % PARTS === part ? fold : []));
    const rest = folds.flatMap((fold, i) => (i % PARTS === part ? [] : fold));
    const started = performance.now();
    const { archive, digest } = await train(candidate, plan, rest);
    seconds!.push((performance.now() - started) / 1_000);
    megabytes!.push(archive.length / 1e6);
    const model = await StudentModel.load(await openBundle(archive, digest), { threads: 1 });
    const policy = await policyOf(
      model,
      plan,
      rest.filter((_, i) => i % DEV_EVERY === 0),
    );
    const texts = test.map(({ text }) => text);
    const predictions = await model.predict(texts);
    for (const [i, answered] of test.entries()) {
      tally.add(plan, answered, decide(predictions[i]!, policy, plan, answered.text));
    }
    microseconds!.push(1_000 * median(await singleLatencies(model, texts, TIMED_ANSWERS)));
    await model.release();
    process.stderr.write(`${family}: part ${part + 1} of ${options.parts}, so far ${summaryOf(tally)}\n`);
  }
  return resultOf(family, tally, {
    seconds: median(seconds!),
    megabytes: Math.max(...megabytes!),
    microseconds: median(microseconds!),
  });
}

const summaryOf = (tally: Tally): string =>
  `F1 of intents ${percent(f1(tally.of((name) => name === INTENTS)))}, of slots ${percent(f1(tally.of((name) => name !== INTENTS)))}, ` +
  `${tally.whole} of ${tally.texts} whole answers agree`;

function resultOf(
  family: Family,
  tally: Tally,
  { seconds, megabytes, microseconds }: Record<'seconds' | 'megabytes' | 'microseconds', number>,
): { lines: Line[]; figures: Figures } {
  const { texts, whole, covered, coveredAgreeing } = tally;
  const intents = f1(tally.of((name) => name === INTENTS));
  const slots = f1(tally.of((name) => name !== INTENTS));
  const delivered = (coveredAgreeing + texts - covered) / texts;
  const fields = [...tally.fields].sort(([a], [b]) => (a < b ? -1 : 1));
  const fits = megabytes < SMALL_MEGABYTES ? 'under' : 'over';
  return {
    lines: [
      [`${family}: intents, F1`, percent(intents)],
      [`${family}: slots, F1`, percent(slots)],
      ...fields
        .filter(([name]) => name !== INTENTS)
        .map(
          ([name, counts]): Line => [
            `${family}:   ${name}, F1`,
            `${percent(f1(counts))} of ${counts.right + counts.missed}`,
          ],
        ),
      [`${family}: whole answers that agree`, `${percent(whole / texts)} of ${texts}`],
      [
        `${family}: with deferral`,
        `${percent(delivered)} delivered agreement, ${percent(covered / texts)} coverage, of which ${percent(coveredAgreeing / Math.max(1, covered))} agree`,
      ],
      [`${family}: one student of all fields`, `${megabytes.toFixed(1)} MB, ${fits} ${SMALL_MEGABYTES}`],
      [`${family}: an answer`, `${microseconds.toFixed(0)} µs (one thread, median; from text to logits)`],
      [`${family}: training`, `${seconds.toFixed(0)} s, median of the parts`],
    ],
    figures: {
      [`${family}_intents_f1`]: intents,
      [`${family}_slots_f1`]: slots,
      ...Object.fromEntries(fields.map(([name, counts]) => [`${family}_${name}_f1`, f1(counts)])),
      [`${family}_whole_agreement`]: whole / texts,
      [`${family}_delivered_agreement`]: delivered,
      [`${family}_coverage`]: covered / texts,
      [`${family}_selective_agreement`]: covered === 0 ? null : coveredAgreeing / covered,
      [`${family}_megabytes`]: megabytes,
      [`${family}_answer_us`]: microseconds,
      [`${family}_train_s`]: seconds,
    },
  };
}

function candidateOf(family: Family): Candidate | undefined {
  const hyperparameters = Object.fromEntries(
    options.set.map((pair) => {
      const [name = '', value = ''] = pair.split('=');
      return [name, Number(value)];
    }),
  );
  if (family !== 'encoder') return { family, hyperparameters };
  if (!options.encoder) return undefined;
  return {
    family,
    hyperparameters,
    encoder: { folder: options.encoder, train: z.enum(TRAINED_PARTS).parse(options.train) },
  };
}

export async function run(): Promise<void> {
  if (!options.data)
    throw new Error('npm run bench structured -- --data DIR, with fold*.json of texts, intents and slots');
  const data = readData(options.data);
  const lines: Line[] = [
    ['texts', String(data.folds.flat().length)],
    ['answers that copy what is not in their text, left out', String(data.unlearnable)],
  ];
  const figures: Figures = { texts: data.folds.flat().length, unlearnable: data.unlearnable };
  for (const family of FAMILIES.filter((name) => options.families.split(',').includes(name))) {
    const candidate = candidateOf(family);
    if (!candidate) {
      process.stderr.write('encoder: left out; --encoder DIR names a folder in Hugging Face layout\n');
      continue;
    }
    const measured = await measure(candidate, data);
    lines.push(...measured.lines);
    Object.assign(figures, measured.figures);
  }
  report('structured', lines, figures);
}
