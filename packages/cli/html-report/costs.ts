/** What a student costs and saves. No I/O. */
import type { PageFacts, ShownCosts } from './shown.ts';

/** A busy core of a server with its share of memory, fans and supply: 100 to 200 W over 10 to 20 cores. An assumption, so the page states it. */
export const WATTS_PER_CORE = 10;

export interface Savings {
  /** USD for a thousand requests: all asked of the teacher, left to it by the student, and spent on checking the student. */
  teacherUsd: number;
  fallbackUsd: number;
  auditUsd: number;
  savedUsd: number;
  investedUsd: number;
  /** Requests after which the teacher's bill has come back; null where it never does. `safe` is by the lower bound of coverage. */
  breakEven: number | null;
  safeBreakEven: number | null;
}

type Known = Pick<PageFacts, 'audit' | 'traffic' | 'spentUsd' | 'spentBeforeUsd'>;

/** Undefined where the teacher's price is not known. Coverage is of requests, 0..1. */
export const savingsOf = (
  { teacher, deliveredUsdPerThousand }: ShownCosts,
  coverage: { value: number; lowerBound: number },
  known: Known,
): Savings | undefined => {
  const teacherUsd = teacher.usdPerThousand;
  if (teacherUsd === 0) return undefined;
  const investedUsd = known.spentUsd + known.spentBeforeUsd;
  const auditUsd = auditUsdPerThousand(teacherUsd, coverage.value, known);
  const savedUsd = teacherUsd - deliveredUsdPerThousand - auditUsd;
  const safeSavedUsd = teacherUsd * coverage.lowerBound - auditUsd;
  return {
    ...{ teacherUsd, fallbackUsd: deliveredUsdPerThousand, auditUsd, savedUsd, investedUsd },
    breakEven: requestsFor(investedUsd, savedUsd),
    safeBreakEven: requestsFor(investedUsd, Math.min(savedUsd, safeSavedUsd)),
  };
};

const requestsFor = (investedUsd: number, savedUsdPerThousand: number): number | null =>
  savedUsdPerThousand <= 0 ? null : Math.ceil((investedUsd / savedUsdPerThousand) * 1_000);

/** The share that is checked, or as many as a day allows where the traffic is known to be more than that. */
const auditUsdPerThousand = (teacherUsd: number, coverage: number, { audit, traffic }: Known): number => {
  const checksPerThousand = 1_000 * coverage * audit.share;
  const payable = Math.min(audit.callsPerDay, (audit.usdPerDay / teacherUsd) * 1_000);
  const most = traffic ? (payable / traffic.requestsPerDay) * 1_000 : Number.POSITIVE_INFINITY;
  return (Math.min(checksPerThousand, payable === 0 ? 0 : most) / 1_000) * teacherUsd;
};

/** Joules for one answer of the student: processor time times watts. Without a measured time, the latency of one thread stands for it. */
export const answerJoules = ({ student }: ShownCosts, wattsPerCore: number): number =>
  ((student.cpuMs ?? student.medianLatencyMs) / 1_000) * wattsPerCore;

/** The day on which so many requests have come. */
export const dayAfter = (from: Date, requests: number, requestsPerDay: number): string | undefined => {
  const day = new Date(from.getTime() + (requests / requestsPerDay) * 86_400_000);
  return Number.isNaN(day.getTime()) ? undefined : day.toISOString().slice(0, 10);
};
