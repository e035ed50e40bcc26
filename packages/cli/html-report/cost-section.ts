/** Cost, break-even and energy, with what they assume. */
import { count, milliseconds, percent } from '../format.ts';
import { answerJoules, dayAfter, type Savings, savingsOf } from './costs.ts';
import { facts, type Html, html } from './html.ts';
import { section, usd } from './sections.ts';
import type { PageFacts, ShownCosts } from './shown.ts';

export const costSection = (page: PageFacts): Html => {
  const { report, spentUsd, spentBeforeUsd, teacherCalls } = page;
  const spent = `${usd(spentUsd)} in this run, for ${count(teacherCalls)} calls${spentBeforeUsd > 0 ? `; ${usd(spentBeforeUsd)} in the task’s runs before it` : ''}`;
  const made = facts([
    ['Teacher, to label pairs', spent],
    ['Training', trainingText(page)],
    ['Traffic', trafficText(page)],
  ]);
  const costs = report?.costs;
  const coverage = report?.test?.coverage;
  if (!report || !costs || !coverage) return section('Cost and energy', made);
  const covered = { value: coverage.value ?? 0, lowerBound: coverage.lowerBound };
  return section(
    'Cost and energy',
    html`${made}${priceFacts(page, savingsOf(costs, covered, page))}`,
    html`${energyFacts(page, costs)}<p class="soft">Energy is the processor time of one answer, of the whole process that measured it, times ${page.wattsPerCore} W for a busy core. The watts are an assumption, not a measurement: <code>--watts</code> states others. What the teacher’s machines use is not known here.</p>`,
  );
};

const trafficText = ({ traffic }: PageFacts): string =>
  traffic
    ? `${count(Math.round(traffic.requestsPerDay))} requests a day, ${traffic.origin}`
    : 'not known; --requests-per-day states it';

const trainingText = ({ report, trainingMs }: PageFacts): string => {
  const tried = report?.candidates.flatMap(({ trained }) => (trained ? [trained.trainingMs] : [])) ?? [];
  if (trainingMs === 0) return 'the run did not come to it';
  const stage = `${milliseconds(trainingMs)} of machine time`;
  const all = tried.reduce((sum, ms) => sum + ms, 0);
  const parts = tried.length === 0 ? '' : `, ${milliseconds(all)} of it in the students tried`;
  return `${stage}${parts}; machines have no price here, so it is in no sum`;
};

const priceFacts = (page: PageFacts, savings: Savings | undefined): Html => {
  if (!savings) {
    return html`<p>The price of the teacher’s answers is not known: those to the test’s pairs have none, because the task has no <code>teacher.pricing</code> or they were not asked under it. So there is no break-even to tell.</p>`;
  }
  const { teacherUsd, fallbackUsd, auditUsd, savedUsd } = savings;
  return html`${facts([
    ['1,000 requests, all to the teacher', usd(teacherUsd)],
    [
      '1,000 requests with the student',
      `${usd(fallbackUsd + auditUsd)}: ${usd(fallbackUsd)} for what it leaves to the teacher, ${usd(auditUsd)} for audits${auditText(page)}`,
    ],
    ['Saved per 1,000 requests', usd(savedUsd)],
    ['Break-even', breakEvenText(savings, page)],
  ])}<p class="soft">Prices are what the teacher’s answers to the test pairs cost. The student’s own machine is in no sum.</p>`;
};

const auditText = ({ audit }: PageFacts): string =>
  audit.share > 0 ? ` of ${percent(audit.share)} of its answers` : ', because the task allows none';

const breakEvenText = (savings: Savings, page: PageFacts): string => {
  const { breakEven, safeBreakEven, investedUsd } = savings;
  const { traffic } = page;
  if (breakEven === null) return 'never: fallback and audits cost as much as the teacher alone';
  if (investedUsd === 0) return 'at once: labelling cost nothing';
  const safe = safeBreakEven === null ? 'or never' : `or ${count(safeBreakEven)}`;
  const after = `after ${count(breakEven)} requests, ${safe} where coverage is at its lower bound`;
  if (!traffic) return `${after}; without known traffic there is no date`;
  const day = dayAfter(page.finishedAt ?? new Date(), breakEven, traffic.requestsPerDay);
  return `${after}; at this traffic ${day ? `that is ${day}` : 'that is too far away for a date'}`;
};

const energyFacts = (page: PageFacts, costs: ShownCosts): Html => {
  const { student, teacher } = costs;
  const joules = answerJoules(costs, page.wattsPerCore);
  const time =
    student.cpuMs === undefined
      ? `latency of one thread, ${milliseconds(student.medianLatencyMs)}`
      : `${milliseconds(student.cpuMs)} of processor time`;
  const times =
    teacher.medianLatencyMs > 0 && student.medianLatencyMs > 0
      ? `, ${(teacher.medianLatencyMs / student.medianLatencyMs).toFixed(1)} times the student’s`
      : '';
  return facts([
    [
      'Latency of the student',
      `${milliseconds(student.medianLatencyMs)} (median), ${milliseconds(student.p99LatencyMs)} (99th percentile)`,
    ],
    [
      'Latency of the teacher',
      teacher.medianLatencyMs === 0
        ? 'not measured: its answers came from the store'
        : `${milliseconds(teacher.medianLatencyMs)} (median)${times}`,
    ],
    ['Energy of an answer', `${energy(joules)} (${time} at ${page.wattsPerCore} W)`],
    ['Energy of a million answers', energy(joules * 1e6)],
  ]);
};

const energy = (joules: number): string => {
  if (joules >= 3.6e6) return `${(joules / 3.6e6).toFixed(2)} kWh`;
  if (joules >= 3_600) return `${(joules / 3_600).toFixed(2)} Wh`;
  if (joules >= 1) return `${joules.toFixed(1)} J`;
  return joules >= 1e-3 ? `${(joules * 1e3).toFixed(1)} mJ` : `${(joules * 1e6).toFixed(0)} µJ`;
};
