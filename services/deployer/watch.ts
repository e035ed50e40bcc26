/** What is remembered of a task's live traffic, as one value that one deployer at a time changes. Decisions only, no I/O. */
import { type AnswerAudited, AuditOutcome } from '@understudy/contract';
import type { Deployment } from '@understudy/contract/deployer';
import {
  type DetectorState,
  observeDisagreement,
  observeOthers,
  startDetector,
} from '@understudy/student/statistics/e-detector';
import { z } from 'zod';
import { CONFIDENCE_BINS, MAX_KNOWN_FACTS, SHIFT_WINDOW_ANSWERS } from './limits.ts';

const count = z.int().min(0);
const Detector = z.strictObject({
  goal: z.number(),
  sums: z.array(z.number()),
  answers: z.number(),
  weightedDisagreements: z.number(),
  alarmed: z.boolean(),
});

const Subject = z.strictObject({
  studentDigest: z.string(),
  /** At which it came to where it is. */
  generation: z.string(),
  checks: count,
  disagreements: count,
  /** Of the student that serves. */
  detector: Detector.nullable(),
});

const Drift = z.strictObject({
  /** Of the student whose pairs the rounds are held against. */
  generation: z.string(),
  rounds: count,
  lastAtMs: z.number(),
});

const Shift = z.strictObject({
  generation: z.string(),
  /** Of the window under way. */
  counts: z.array(count),
  /** Index of the last full window; null before it. */
  index: z.number().nullable(),
});

const Watch = z.strictObject({
  subjects: z.array(Subject),
  /** Ids of the newest facts that were counted: one that comes again counts once. */
  known: z.array(z.string()),
  drift: Drift.nullable(),
  shift: Shift.nullable(),
});
export type Watch = z.infer<typeof Watch>;
export type Subject = z.infer<typeof Subject>;

export const parseWatch = (text: string | undefined): Watch =>
  text === undefined ? { subjects: [], known: [], drift: null, shift: null } : Watch.parse(JSON.parse(text));

/** Students that the deployment's traffic is evidence about. */
export interface Places {
  serving: { studentDigest: string; generation: bigint; goal: number } | undefined;
  challenger: { studentDigest: string; generation: bigint } | undefined;
}

export function placesOf(deployment: Deployment, goal: number): Places {
  const { studentDigest, servingGeneration, challenger } = deployment;
  return {
    serving: studentDigest === '' ? undefined : { studentDigest, generation: servingGeneration, goal },
    challenger,
  };
}

export const subjectOf = (watch: Watch, place: { studentDigest: string; generation: bigint } | undefined) =>
  watch.subjects.find((one) => place !== undefined && one.generation === String(place.generation));

/**
 * The watch after these facts. Facts about students that are not where they were are nobody's; ones that come again change nothing. All
 * answers of a place are drawn with one probability that no answer's content touches, so those that were checked are a plain random
 * sample of them: weighting each by the inverse of that probability gives every count the same factor, which cancels.
 */
export function watched(before: Watch, places: Places, audits: readonly AnswerAudited[]): Watch {
  const subjects = [places.serving, places.challenger]
    .filter((place) => place !== undefined)
    .map((place) => subjectOf(before, place) ?? begun(place, place === places.serving ? places.serving : undefined));
  const known = new Set(before.known);
  const changed = new Map(subjects.map((subject) => [subject.generation, subject]));
  for (const audit of audits) {
    const subject = changed.get(String(audit.servingGeneration));
    const id = `${audit.requestId} ${audit.servingGeneration}`;
    if (subject?.studentDigest !== audit.studentDigest || known.has(id) || !isAnswered(audit)) continue;
    known.add(id);
    changed.set(subject.generation, checked(subject, audit.outcome === AuditOutcome.DISAGREED));
  }
  const newest = [...known].slice(-MAX_KNOWN_FACTS);
  return { ...before, subjects: [...changed.values()], known: newest };
}

const isAnswered = ({ outcome }: AnswerAudited): boolean =>
  outcome === AuditOutcome.AGREED || outcome === AuditOutcome.DISAGREED;

const begun = (
  place: { studentDigest: string; generation: bigint },
  serving: { goal: number } | undefined,
): Subject => ({
  studentDigest: place.studentDigest,
  generation: String(place.generation),
  checks: 0,
  disagreements: 0,
  // A goal of 0 or 1 leaves nothing to watch.
  detector: serving && serving.goal > 0 && serving.goal < 1 ? keptDetector(startDetector(serving.goal)) : null,
});

function checked(subject: Subject, disagreed: boolean): Subject {
  const { detector } = subject;
  const observed = detector && (disagreed ? observeDisagreement(detector, 1) : observeOthers(detector, 1));
  return {
    ...subject,
    checks: subject.checks + 1,
    disagreements: subject.disagreements + (disagreed ? 1 : 0),
    detector: observed && keptDetector(observed),
  };
}

const keptDetector = (state: DetectorState): z.infer<typeof Detector> => ({ ...state, sums: [...state.sums] });

/**
 * Adds a window's confidences of the student that serves.
 * @param expected share of each bin on the test pairs; undefined where the report has none
 * @returns `full` where that ended a window of its own, with its population stability index
 */
export function confidencesCounted(
  before: Watch,
  fact: { windowId: string; counts: readonly number[]; generation: bigint },
  expected: readonly number[] | undefined,
): { watch: Watch; full: { index: number; answers: number } | undefined } {
  if (!expected || before.known.includes(fact.windowId) || fact.counts.length !== CONFIDENCE_BINS) {
    return { watch: before, full: undefined };
  }
  const known = [...before.known, fact.windowId].slice(-MAX_KNOWN_FACTS);
  const generation = String(fact.generation);
  const going =
    before.shift?.generation === generation
      ? before.shift
      : { generation, counts: fact.counts.map(() => 0), index: null };
  const counts = going.counts.map((value, bin) => value + fact.counts[bin]!);
  const answers = counts.reduce((sum, value) => sum + value, 0);
  if (answers < SHIFT_WINDOW_ANSWERS) {
    return { watch: { ...before, known, shift: { ...going, counts } }, full: undefined };
  }
  const index = stabilityIndex(counts, expected);
  const shift = { generation, counts: counts.map(() => 0), index };
  return { watch: { ...before, known, shift }, full: { index, answers } };
}

/** Population stability index Σ (a − e)·ln(a/e) of counted against expected shares, each bin at least half an answer. */
export function stabilityIndex(counts: readonly number[], expected: readonly number[]): number {
  const total = counts.reduce((sum, value) => sum + value, 0);
  const least = 0.5 / total;
  return counts.reduce((sum, value, bin) => {
    const [actual, wanted] = [Math.max(value / total, least), Math.max(expected[bin]!, least)];
    return sum + (actual - wanted) * Math.log(actual / wanted);
  }, 0);
}
