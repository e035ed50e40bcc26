import { cpus } from 'node:os';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { type Policy, policyJson, type StudentModel } from '@understudy/student';
import { fitTemperatures, likelihoodOf } from '@understudy/student/heads/calibrate';
import { singleLatencies, WARM_UP_REQUESTS } from '@understudy/student/latencies';
import { learnDistribution, type OutOfDistribution } from '@understudy/student/out-of-distribution';
import { reliability } from '@understudy/student/statistics/calibration';
import { furtherPairs } from '@understudy/student/statistics/estimate';

import { levelOfLook } from '@understudy/student/statistics/level';
import { type Ranking, riskCoverage } from '@understudy/student/statistics/ranking';
import { chooseThreshold } from '@understudy/student/statistics/threshold';
import type { CompiledTask } from '@understudy/task';
import { type Answer, answersOf, predictionsOf } from './answers.ts';
import { verdictOfCeiling } from './ceiling.ts';
import { floorsGate, measureFloors } from './floors.ts';
import { type Further, gatesOf, hopelessVerdict, verdictOf } from './gate.ts';
import type { Incumbent } from './incumbent.ts';
import { type Curve, isHopelessOnDev, learningCurveOf, verdictOfCurve, verdictWithoutLook } from './learning-curve.ts';
import { TIMED_REQUESTS } from './limits.ts';
import type { Looks } from './looks.ts';
import { measureCosts, measureTest, rankingOf } from './measure.ts';
import { compare, growthToReplace, incumbentGate } from './non-inferiority.ts';
import type { JudgedPair } from './pairs.ts';
import type { CeilingReport, DevReport, IncumbentReport, Report, SuspectsReport } from './report.ts';
import type { Turn } from './turn.ts';
import { TwinSearch, verdictOfTwins } from './twins.ts';

export interface Judged {
  turn: Turn;
  task: CompiledTask;
  student: StudentModel;
  dev: readonly JudgedPair[];
  test: readonly JudgedPair[];
  /** What the student learnt from: read once, where it comes to choosing a policy. */
  trainTexts: AsyncIterable<string>;
  /** The teacher's agreement with itself; asked only where pairs are enough to judge by, or their curve says to end. */
  ceiling: () => Promise<CeilingReport | null>;
  suspects: SuspectsReport;
  /** The student in service, where there is another one. */
  incumbent: Incumbent | undefined;
  looks: Looks;
  blobs: BlobStore;
}

/** A policy with what dev said when it was chosen. */
interface Choice {
  policy: Policy;
  dev: DevReport;
  ranking: Ranking;
}

/**
 * Judges a student: temperature and threshold on dev, then one look at test. Where no look could end well, none is
 * made. Gives a report in every case; only what is not the student's fault (bus, blobs) throws.
 */
export async function evaluate(judged: Judged): Promise<Report> {
  const started = performance.now();
  const { turn, task, looks } = judged;
  const { goal, budget } = task.task;
  const facts = {
    version: 1 as const,
    task: turn.task,
    taskDigest: turn.taskDigest,
    runId: turn.runId,
    seal: turn.seal,
    snapshot: turn.snapshot,
    student: turn.student,
    candidates: turn.candidates,
    goal,
  };
  const level = levelOfLook(1 - goal.confidence, await looks.expected(turn));
  const usdPerPair = judged.dev.reduce((sum, { teacherUsd }) => sum + teacherUsd, 0) / Math.max(1, judged.dev.length);
  const curve = learningCurveOf({ turn, goal, budget, usdPerPair, level });
  const early = hopeless(judged, level, curve);
  // A curve that leads nowhere does not say why: a teacher that contradicts itself may be the reason.
  const ceiling = early && !early.verdict.notDistillable ? null : await judged.ceiling();
  const refused = verdictOfCeiling(ceiling, goal.agreement);
  const findings = (refused && { ...NOTHING, verdict: refused }) ?? early ?? (await judge(judged, level, curve));
  return {
    ...facts,
    learningCurve: curve,
    suspects: judged.suspects,
    ceiling,
    ...findings,
    evaluatedAt: new Date().toISOString(),
    evaluationMs: performance.now() - started,
    machine: cpus()[0]?.model ?? 'unknown',
  };
}

type Findings = Pick<
  Report,
  'policy' | 'dev' | 'test' | 'twins' | 'floors' | 'incumbent' | 'costs' | 'gates' | 'verdict'
>;

/** Too few pairs are no reason to ask for more where their curve leads nowhere. */
function hopeless({ turn, task, dev, test }: Judged, level: number, curve: Curve | null): Findings | undefined {
  const found = hopelessVerdict({
    devPairs: dev.length,
    devAnswers: [...new Set(dev.map(({ answer, label }) => label ?? answer))],
    testPairs: test.length,
    pairs: turn.snapshot.trainPairs + dev.length + test.length,
    shares: task.task.splits,
    goal: task.task.goal,
    level,
  });
  const nowhere = found && found.morePairs > 0 ? verdictOfCurve(curve, task.task.goal.agreement) : undefined;
  const verdict = nowhere ?? found;
  return verdict && { ...NOTHING, verdict };
}

const NOTHING = {
  policy: null,
  dev: null,
  test: null,
  twins: null,
  floors: null,
  incumbent: null,
  costs: null,
  gates: [],
};

/** A look that dev says would fail is not taken, where the curve can tell what would help. */
async function judge(judged: Judged, level: number, curve: Curve | null): Promise<Findings> {
  const devTexts = judged.dev.map(({ text }) => text);
  const twins = new TwinSearch(judged.test);
  const outOfDistribution = await learnDistribution(twins.among(judged.trainTexts), devTexts);
  const found = { twins: twins.report() };
  const known = { ...judged, test: twins.kept(), outOfDistribution };
  const poisoned = verdictOfTwins(found.twins, judged.test.length);
  const early = poisoned ? { ...NOTHING, verdict: poisoned } : hopeless(known, level, curve);
  if (early) return { ...early, ...found };
  if (curve !== null) {
    const { dev } = await choose(known, level);
    const verdict = verdictWithoutLook(dev, curve, judged.task.task.goal.agreement);
    if (isHopelessOnDev(dev)) return { ...NOTHING, ...found, dev, verdict };
  }
  return { ...(await look(known, curve)), ...found };
}

interface Known extends Judged {
  outOfDistribution: OutOfDistribution;
}

async function look(judged: Known, learningCurve: Curve | null): Promise<Omit<Findings, 'twins'>> {
  const { turn, task, student, test, looks, blobs } = judged;
  const { goal } = task.task;
  const alpha = 1 - goal.confidence;
  // Recorded before the student sees the test pairs: from here on this look is spent.
  const claimed = await looks.claim(
    turn,
    test.map(({ promptId }) => promptId),
  );
  const level = levelOfLook(alpha, claimed.look);
  const { policy, dev, ranking } = await choose(judged, level);
  const policyDigest = await blobs.put('policies', new TextEncoder().encode(policyJson(policy)));
  const predictions = await predictionsOf(student, test);
  const answers = answersOf(test, predictions, policy, task.output);
  const measured = measureTest(answers, {
    output: task.output,
    goalAgreement: goal.agreement,
    level,
    ranking: rankingOf(answersOf(test, predictions, { ...policy, threshold: 0 }, task.output)),
    ...claimed,
  });
  const texts = test.map(({ text }) => text);
  const cpuBefore = process.cpuUsage();
  const latencies = await singleLatencies(student, texts, TIMED_REQUESTS);
  const { user, system } = process.cpuUsage(cpuBefore);
  const costs = measureCosts(answers, latencies, (user + system) / 1_000 / (TIMED_REQUESTS + WARM_UP_REQUESTS));
  const floors = measureFloors(
    answers.map(({ pair, covered, agrees }) => ({
      covered,
      agrees,
      class: pair.label,
      origin: pair.origin,
      characters: pair.text.length,
    })),
    goal,
  );
  const incumbent = judged.incumbent ? await compareWith(judged.incumbent, judged, answers, level) : null;
  const gates = [
    ...gatesOf(measured, costs, turn.student.sizeBytes, goal),
    floorsGate(floors),
    ...(incumbent ? [incumbentGate(incumbent, goal.nonInferiorityMargin)] : []),
  ];
  const pairs = turn.snapshot.trainPairs + judged.dev.length + test.length;
  const nextLevel = levelOfLook(alpha, claimed.look + 1);
  const further: Further = {
    goal: () => furtherPairs({ dev: ranking, goal, pairs, testPairs: test.length, level: nextLevel }),
    incumbent: () => {
      const growth = incumbent ? growthToReplace(incumbent, goal.nonInferiorityMargin, nextLevel) : undefined;
      return growth && Math.ceil((growth - 1) * pairs);
    },
  };
  return {
    policy: {
      digest: policyDigest,
      temperatures: temperaturesOf(policy),
      threshold: policy.threshold,
      maxUnseenShare: judged.outOfDistribution.maxUnseenShare,
    },
    dev,
    test: measured,
    floors,
    incumbent,
    costs,
    gates,
    verdict: verdictOf(gates, { goal, test: measured, floors, incumbent, learningCurve }, further),
  };
}

const temperaturesOf = ({ heads }: Policy) =>
  Object.fromEntries(heads.map(({ name, temperature }) => [name, temperature]));

async function compareWith(
  { digest, policy, student }: Incumbent,
  { test, task }: Known,
  answers: readonly Answer[],
  level: number,
): Promise<IncumbentReport> {
  const given = answersOf(test, await predictionsOf(student, test), policy, task.output);
  return compare(answers, { digest, answers: given }, level);
}

/** Temperatures, then threshold; all from dev alone. */
async function choose({ turn, task, student, dev, test, outOfDistribution }: Known, level: number): Promise<Choice> {
  const { heads: parts, encode } = task.output;
  const predictions = await predictionsOf(student, dev);
  // What the teacher copied from overlapping places of the text has no values that a head could be held against.
  const given = dev.flatMap(({ answer, text }, index) => {
    const encoded = encode(answer, text);
    return encoded.ok ? [{ prediction: predictions[index]!, values: encoded.values }] : [];
  });
  const heads = fitTemperatures(parts, given);
  const uncovered: Policy = {
    version: 2,
    studentDigest: turn.student.digest,
    heads,
    threshold: 0,
    outOfDistribution,
  };
  const answers = answersOf(dev, predictions, uncovered, task.output);
  const confidences = answers.map(({ confidence }) => confidence);
  const agrees = answers.map((answer) => answer.agrees);
  const ranking = rankingOf(answers);
  const choice = chooseThreshold({ dev: ranking, goal: task.task.goal, testPairs: test.length, level });
  const report = {
    pairs: dev.length,
    agreement: ranking.agreeing(dev.length) / dev.length,
    negativeLogLikelihood: {
      uncalibrated: likelihoodOf(parts, given),
      calibrated: likelihoodOf(parts, given, heads),
    },
    calibration: reliability(confidences, agrees),
    covered: choice.devCovered,
    agreeing: choice.devAgreeing,
    agreementMargin: choice.agreementMargin,
    coverageMargin: choice.coverageMargin,
    riskCoverage: riskCoverage(ranking),
  };
  return { policy: { ...uncovered, threshold: choice.threshold }, dev: report, ranking };
}
