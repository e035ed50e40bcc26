/** Answers turned into the figures of a report. No I/O. */

import { reliability } from '@understudy/student/statistics/calibration';
import { lowerBound, upperBound } from '@understudy/student/statistics/clopper-pearson';
import { type Ranking, rankByConfidence, riskCoverage } from '@understudy/student/statistics/ranking';
import type { OutputPlan } from '@understudy/task';
import type { Answer } from './answers.ts';
import type { CostsReport, ProportionReport, TestReport } from './report.ts';

export interface TestFacts {
  output: OutputPlan;
  goalAgreement: number;
  look: number;
  level: number;
  pairsSeenBefore: number;
  /** The answers by confidence, whatever the threshold: see `rankingOf`. */
  ranking: Ranking;
}

/** More confusions than this are a table that nobody reads. */
const MAX_CONFUSIONS = 20;

/** Answers given with a threshold of 0, by confidence. A text unlike train is never covered, so it ranks last. */
export function rankingOf(answers: readonly Answer[]): Ranking {
  const confidences = answers.map(({ covered, confidence }) => (covered ? confidence : 0));
  return rankByConfidence(
    confidences,
    answers.map(({ agrees }) => agrees),
  );
}

/** Everything about agreement on test. At least one answer is needed. */
export function measureTest(answers: readonly Answer[], facts: TestFacts): TestReport {
  const covered = answers.filter((answer) => answer.covered);
  const agreeing = covered.filter((answer) => answer.agrees);
  return {
    look: facts.look,
    level: facts.level,
    pairsSeenBefore: facts.pairsSeenBefore,
    pairs: answers.length,
    coverage: proportion(covered.length, answers.length, facts.level),
    selectiveAgreement: proportion(agreeing.length, covered.length, facts.level),
    overallAgreement: answers.filter((answer) => answer.agrees).length / answers.length,
    deliveredAgreement: (agreeing.length + answers.length - covered.length) / answers.length,
    byRequests: byRequests(answers),
    calibration: reliability(
      answers.map((answer) => answer.confidence),
      answers.map((answer) => answer.agrees),
    ),
    classes: classRows(answers, facts),
    riskCoverage: riskCoverage(facts.ranking),
    confusions: confusions(answers, facts.output),
    heads: headRows(answers, facts.output),
    accuracy: accuracy(answers),
  };
}

/** What answers take and cost. `latencies` are the student's, in ms, rising; `cpuMs` is processor time of one of them. */
export function measureCosts(answers: readonly Answer[], latencies: readonly number[], cpuMs: number): CostsReport {
  const teacher = answers.map(({ pair }) => pair.teacherLatencyMs).filter((ms) => ms > 0);
  teacher.sort((a, b) => a - b);
  const usd = (some: readonly Answer[]) => some.reduce((sum, { pair }) => sum + pair.teacherUsd, 0);
  const perThousand = (spentUsd: number) => (answers.length === 0 ? 0 : (spentUsd * 1_000) / answers.length);
  return {
    teacher: {
      medianLatencyMs: quantile(teacher, 0.5),
      p99LatencyMs: quantile(teacher, 0.99),
      usdPerThousand: perThousand(usd(answers)),
    },
    student: {
      medianLatencyMs: quantile(latencies, 0.5),
      p99LatencyMs: quantile(latencies, 0.99),
      timedRequests: latencies.length,
      cpuMs,
    },
    deliveredUsdPerThousand: perThousand(usd(answers.filter((answer) => !answer.covered))),
  };
}

/** The smallest value that at least this share of the values (rising) does not exceed; 0 without values. */
export function quantile(rising: readonly number[], share: number): number {
  return rising[Math.max(0, Math.ceil(rising.length * share) - 1)] ?? 0;
}

/** A share with its one-sided bounds, each at the level. */
export function proportion(successes: number, pairs: number, level: number): ProportionReport {
  return {
    pairs,
    successes,
    value: pairs === 0 ? null : successes / pairs,
    lowerBound: lowerBound(successes, pairs, level),
    upperBound: upperBound(successes, pairs, level),
  };
}

function byRequests(answers: readonly Answer[]): TestReport['byRequests'] {
  const weigh = (some: readonly Answer[]) => some.reduce((sum, { pair }) => sum + pair.weight, 0);
  const requests = weigh(answers);
  const covered = weigh(answers.filter((answer) => answer.covered));
  const agreeing = weigh(answers.filter((answer) => answer.covered && answer.agrees));
  return {
    requests,
    coverage: covered / requests,
    selectiveAgreement: covered === 0 ? null : agreeing / covered,
    deliveredAgreement: (agreeing + requests - covered) / requests,
  };
}

function classRows(answers: readonly Answer[], facts: TestFacts): TestReport['classes'] {
  const { labels = [] } = facts.output.single ?? {};
  const level = facts.level / (2 * labels.length);
  return labels.map((label) =>
    classRow(
      label,
      answers.filter(({ pair }) => pair.label === label),
      level,
      facts,
    ),
  );
}

/** Bounds are shared out over the labels and both directions (Bonferroni): among many labels some look bad by chance. */
function classRow(
  label: string,
  answers: readonly Answer[],
  level: number,
  facts: TestFacts,
): TestReport['classes'][number] {
  const covered = answers.filter((answer) => answer.covered);
  const agreement = proportion(covered.filter((answer) => answer.agrees).length, covered.length, level);
  const above = agreement.lowerBound >= facts.goalAgreement;
  const below = agreement.upperBound < facts.goalAgreement;
  return {
    label,
    pairs: answers.length,
    coverage: answers.length === 0 ? null : covered.length / answers.length,
    agreement,
    standing: above ? 'above' : below ? 'below' : 'undetermined',
  };
}

/** What the teacher says against what the student would, the most frequent first; none where the output is not one label. */
function confusions(answers: readonly Answer[], { single }: OutputPlan): TestReport['confusions'] {
  const found = new Map<string, TestReport['confusions'][number]>();
  for (const { pair, answer, agrees, covered } of answers) {
    if (!single || answer === undefined || pair.label === undefined || agrees) continue;
    const student = String(JSON.parse(answer)[single.field]);
    const key = JSON.stringify([pair.label, student]);
    const row = found.get(key) ?? { teacher: pair.label, student, pairs: 0, covered: 0 };
    found.set(key, { ...row, pairs: row.pairs + 1, covered: row.covered + (covered ? 1 : 0) });
  }
  return [...found.values()].sort((a, b) => b.pairs - a.pairs || b.covered - a.covered).slice(0, MAX_CONFUSIONS);
}

/** How often each part of the answer is the teacher's, and how the items that it asserts compare (micro-averaged). */
function headRows(answers: readonly Answer[], { heads, items }: OutputPlan): TestReport['heads'] {
  const own = answers.filter((answer) => answer.heads !== undefined);
  const asserted = answers.map(({ pair, answer }) => ({
    teacher: items(pair.answer),
    student: answer === undefined ? {} : items(answer),
  }));
  return heads.map(({ name, kind }) => {
    const agreeing = (some: readonly Answer[]) => some.filter((answer) => answer.heads?.[name]).length;
    const covered = answers.filter((answer) => answer.covered);
    let [shared, ofStudent, ofTeacher] = [0, 0, 0];
    for (const { teacher, student } of asserted) {
      const [given, wanted] = [student[name] ?? [], teacher[name] ?? []];
      shared += given.filter((item) => wanted.includes(item)).length;
      ofStudent += given.length;
      ofTeacher += wanted.length;
    }
    const ratio = (part: number, whole: number) => (whole === 0 ? null : part / whole);
    return {
      ...{ name, kind },
      agreement: ratio(agreeing(own), own.length),
      selectiveAgreement: ratio(agreeing(covered), covered.length),
      precision: ratio(shared, ofStudent),
      recall: ratio(shared, ofTeacher),
      f1: ratio(2 * shared, ofStudent + ofTeacher),
    };
  });
}

function accuracy(answers: readonly Answer[]): TestReport['accuracy'] {
  const known = answers.filter(({ right }) => right !== undefined);
  if (known.length === 0) return null;
  const covered = known.filter((answer) => answer.covered);
  const studentRight = ({ right }: Answer) => right?.student === true;
  const teacherRight = ({ right }: Answer) => right?.teacher === true;
  const share = (some: readonly Answer[], right: (answer: Answer) => boolean) =>
    some.length === 0 ? null : some.filter(right).length / some.length;
  const among = (right: (answer: Answer) => boolean) => known.filter(right).length / known.length;
  return {
    pairs: known.length,
    teacher: among(teacherRight),
    student: among(studentRight),
    selectivePairs: covered.length,
    selectiveStudent: share(covered, studentRight),
    selectiveTeacher: share(covered, teacherRight),
    delivered: among((answer) => (answer.covered ? studentRight(answer) : teacherRight(answer))),
  };
}
