/**
 * `npm run bench goals -- --data DIR [--seeds N] [--coverage SHARE] [--predictions DIR]`: the gate as it ships on real texts (`train.csv` and `test.csv`
 * with `text,category`, at least 12,000 rows), whose labels play the teacher. Each seed splits all of them anew into train, dev, test and fresh,
 * trains a bag, chooses calibration and threshold for each goal on dev, and takes a first look at test. Fresh texts, which nothing has
 * seen, then say whether a promotion was right. --coverage is the goal's (0.5: a bag of this task has no student at 0.99 that answers 80%).
 * --predictions keeps what the students say in a folder, so that the gate can be tried again without training them.
 */
import { parseArgs } from 'node:util';
import { floorsGate, measureFloors } from '@understudy/evaluator/floors';
import { gatesOf } from '@understudy/evaluator/gate';
import { proportion } from '@understudy/evaluator/measure';
import { decide, type Policy } from '@understudy/student';
import { learnDistribution } from '@understudy/student/out-of-distribution';
import { fitTemperature } from '@understudy/student/statistics/calibration';
import { levelOfLook } from '@understudy/student/statistics/level';
import { rankByConfidence } from '@understudy/student/statistics/ranking';
import { chooseThreshold } from '@understudy/student/statistics/threshold';
import { outputPlan } from '@understudy/task/output/plan';
import {
  FIELD,
  type Logits,
  logitsOf,
  type Part,
  readTexts,
  type Split,
  splitOf,
  type Texts,
} from './goals/banking.ts';
import { type Figures, report } from './report.ts';

const GOALS = [0.93, 0.95, 0.97, 0.99];
const CONFIDENCE = 0.95;
/** Size and latency are not in question here. */
const FREE = { teacher: { medianLatencyMs: 0, p99LatencyMs: 0, usdPerThousand: 0 }, deliveredUsdPerThousand: 0 };
const COSTS = { ...FREE, student: { medianLatencyMs: 0, p99LatencyMs: 0, timedRequests: 1 } };

/** What one look came to, and what fresh texts say of it. */
interface Outcome {
  readonly promoted: boolean;
  readonly failed: readonly string[];
  readonly agreement: number;
  readonly coverage: number;
  readonly freshAgreement: number;
  readonly freshCoverage: number;
}

/** All that the looks of a seed have in common. */
interface Scene {
  readonly all: Texts;
  readonly split: Split;
  readonly logits: Logits;
  readonly plan: ReturnType<typeof outputPlan>;
  readonly policy: Policy;
}

async function sceneOf(all: Texts, seed: number, kept: string | undefined): Promise<Scene> {
  const split = splitOf(all, seed);
  const logits = await logitsOf(all, split, seed, kept);
  const textsOf = (part: Part) => split[part].map((index) => all.texts[index]!);
  const temperature = fitTemperature(
    split.dev.map(logits),
    split.dev.map((index) => all.given[index]!),
  );
  const policy: Policy = {
    version: 2,
    studentDigest: '0'.repeat(64),
    heads: [{ name: FIELD, temperature }],
    threshold: 0,
    outOfDistribution: await learnDistribution(textsOf('train'), textsOf('dev')),
  };
  const properties = { [FIELD]: { enum: all.labels } };
  const plan = outputPlan({ type: 'object', properties, required: [FIELD], additionalProperties: false });
  return { all, split, logits, plan, policy };
}

function answersOf({ all, split, logits, plan }: Scene, part: Part, policy: Policy) {
  return split[part].map((index) => {
    const [text, label] = [all.texts[index]!, all.labels[all.given[index]!]!];
    const { answer, confidence, confident } = decide({ logits: { [FIELD]: logits(index) } }, policy, plan, text);
    const agrees = answer === JSON.stringify({ [FIELD]: label });
    return { covered: confident, agrees, confidence, class: label, characters: text.length, origin: '' };
  });
}

function lookOf(scene: Scene, goal: { agreement: number; coverage: number }): Outcome {
  const level = levelOfLook(1 - CONFIDENCE, 1);
  const known = answersOf(scene, 'dev', scene.policy);
  const dev = rankByConfidence(
    known.map(({ covered, confidence }) => (covered ? confidence : 0)),
    known.map(({ agrees }) => agrees),
  );
  const { threshold } = chooseThreshold({ dev, goal, testPairs: scene.split.test.length, level });
  const policy = { ...scene.policy, threshold };
  const test = answersOf(scene, 'test', policy);
  const covered = test.filter((answer) => answer.covered);
  const agreeing = covered.filter(({ agrees }) => agrees);
  const shares = {
    selectiveAgreement: proportion(agreeing.length, covered.length, level),
    coverage: proportion(covered.length, test.length, level),
  };
  const full = { ...goal, confidence: CONFIDENCE, latencyMs: 1, sizeBytes: 1 };
  const gates = [...gatesOf(shares, COSTS, 1, full), floorsGate(measureFloors(test, full))];
  const fresh = answersOf(scene, 'fresh', policy);
  const freshCovered = fresh.filter((answer) => answer.covered);
  return {
    promoted: gates.every(({ passed }) => passed),
    failed: gates.filter(({ passed }) => !passed).map(({ name }) => name),
    agreement: agreeing.length / covered.length,
    coverage: covered.length / test.length,
    freshAgreement: freshCovered.filter(({ agrees }) => agrees).length / freshCovered.length,
    freshCoverage: freshCovered.length / fresh.length,
  };
}

const percent = (share: number): string => `${(100 * share).toFixed(2)}%`;

/** Mean over seeds, and half the width of its 95% interval. */
function meanOf(values: readonly number[]): { mean: number; half: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, values.length - 1);
  return { mean, half: 1.96 * Math.sqrt(variance / values.length) };
}

function linesOf(agreement: number, outcomes: readonly Outcome[]): { lines: [string, string][]; figures: Figures } {
  const promoted = outcomes.filter((outcome) => outcome.promoted);
  const name = `goal ${agreement}`;
  const key = `goal_${Math.round(100 * agreement)}`;
  const reasons = Map.groupBy(
    outcomes.flatMap(({ failed }) => failed),
    (gate) => gate,
  );
  const failed = [...reasons].map(([gate, times]) => `${gate} ${times.length}`).join(', ');
  const told = (pick: (outcome: Outcome) => number, of: readonly Outcome[]) => {
    if (of.length === 0) return 'none';
    const { mean, half } = meanOf(of.map(pick));
    return of.length === 1 ? percent(mean) : `${percent(mean)} ± ${percent(half)}`;
  };
  const fresh = promoted.length < 2 ? undefined : meanOf(promoted.map(({ freshAgreement }) => freshAgreement));
  return {
    lines: [
      [`${name}: promoted`, `${promoted.length} of ${outcomes.length}${failed && `; not proven: ${failed}`}`],
      [
        `${name}: agreement and coverage on test`,
        `${told((one) => one.agreement, outcomes)}, ${told((one) => one.coverage, outcomes)}`,
      ],
      [
        `${name}: the same on fresh texts, where promoted`,
        `${told((one) => one.freshAgreement, promoted)}, ${told((one) => one.freshCoverage, promoted)}`,
      ],
    ],
    figures: {
      [`${key}_promotion_rate`]: promoted.length / outcomes.length,
      [`${key}_agreement`]: meanOf(outcomes.map((one) => one.agreement)).mean,
      [`${key}_coverage`]: meanOf(outcomes.map((one) => one.coverage)).mean,
      [`${key}_fresh_agreement`]: fresh?.mean ?? null,
      [`${key}_fresh_agreement_low`]: fresh ? fresh.mean - fresh.half : null,
      [`${key}_fresh_agreement_high`]: fresh ? fresh.mean + fresh.half : null,
    },
  };
}

export async function run(): Promise<void> {
  const { values } = parseArgs({
    args: process.argv.slice(3),
    options: {
      data: { type: 'string' },
      seeds: { type: 'string', default: '20' },
      coverage: { type: 'string', default: '0.5' },
      predictions: { type: 'string' },
    },
  });
  if (!values.data) throw new Error('npm run bench goals -- --data DIR, with train.csv and test.csv (text,category)');
  const [seeds, coverage] = [Number(values.seeds), Number(values.coverage)];
  const all = readTexts(values.data);
  const outcomes = GOALS.map((): Outcome[] => []);
  for (let seed = 1; seed <= seeds; seed += 1) {
    const scene = await sceneOf(all, seed, values.predictions);
    for (const [i, agreement] of GOALS.entries()) outcomes[i]!.push(lookOf(scene, { agreement, coverage }));
    process.stderr.write(`seed ${seed} of ${seeds}\n`);
  }
  const told = GOALS.map((agreement, i) => linesOf(agreement, outcomes[i]!));
  report(
    'goals',
    [['seeds, coverage wanted', `${seeds}, ${coverage}`], ...told.flatMap(({ lines }) => lines)],
    Object.assign({}, ...told.map(({ figures }) => figures)),
  );
}
