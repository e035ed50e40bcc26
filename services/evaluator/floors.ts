/** The parts of test that must not agree less than the floor: each answer of the teacher's that a class is, texts by length, and each source. No I/O. */
import { type Standing, standingsOf } from '@understudy/student/statistics/floors';
import type { FloorsReport, GateReport } from './report.ts';

/** How far below its goal a part may be where the task names no floor: parts differ, but ten points are a fault that its users see. */
const FLOOR_BELOW_GOAL = 0.1;
/** The largest sources; all others are one part. Each part makes the others harder to prove, and who publishes prompts may name any number. */
const MAX_SOURCES = 32;
/** Texts are told apart as short, middling and long, a third each. */
const LENGTHS = 3;

/** An answer as the floors see it. */
export interface Placed {
  readonly covered: boolean;
  readonly agrees: boolean;
  /** The class that the teacher put it in; undefined where the task has none. */
  readonly class: string | undefined;
  readonly characters: number;
  /** Name of the source that it came from; empty where nobody said. */
  readonly origin: string;
}

export interface FloorGoal {
  readonly agreement: number;
  readonly confidence: number;
  readonly floor?: number | undefined;
}

type Part = FloorsReport['parts'][number];

export const floorOf = ({ agreement, floor }: FloorGoal): number => floor ?? Math.max(0, agreement - FLOOR_BELOW_GOAL);

/**
 * Every part against the floor, Holm-corrected over all of them. The level is that of the task, whichever look this is: a lower one would
 * let more of the bad parts pass, not fewer.
 */
export function measureFloors(answers: readonly Placed[], goal: FloorGoal): FloorsReport {
  const floor = floorOf(goal);
  const level = 1 - goal.confidence;
  const groups = [...byClass(answers), ...byLength(answers), ...bySource(answers)];
  const counts = groups.map(({ answers: all }) => {
    const covered = all.filter((answer) => answer.covered);
    return { pairs: covered.length, agreeing: covered.filter(({ agrees }) => agrees).length };
  });
  const verdicts = standingsOf(counts, floor, level);
  const parts = groups.map(({ by, name, answers: all }, i): Part => {
    const { pairs: covered, agreeing } = counts[i]!;
    const { standing, belowP } = verdicts[i]!;
    return { by, name, pairs: all.length, covered, agreeing, standing, belowP };
  });
  return { floor, level, parts };
}

/** Passed where no part is proven to be below; what is undetermined is told, and is no proof of anything. */
export function floorsGate({ floor, parts }: FloorsReport): GateReport {
  const worst = parts.filter(({ covered }) => covered > 0).map(({ agreeing, covered }) => agreeing / covered);
  const measured = worst.length === 0 ? null : Math.min(...worst);
  return { name: 'floors', measured, goal: floor, passed: !parts.some(isBelow) };
}

/** What is wrong, in words. */
export function floorsFault({ floor, parts }: FloorsReport): string {
  const told = parts.filter(isBelow).map(({ name, covered, agreeing, by }) => {
    return `${WORDS[by](name)} (${agreeing} of ${covered})`;
  });
  return `below the floor of ${(floor * 100).toFixed(2)}%: ${told.join(', ')}`;
}

const WORDS: Readonly<Record<Part['by'], (name: string) => string>> = {
  class: (name) => `answers of ${JSON.stringify(name)}`,
  length: (name) => `texts of ${name}`,
  source: (name) => `inputs from ${JSON.stringify(name)}`,
};

const isBelow = ({ standing }: { standing: Standing }): boolean => standing === 'below';

type Group = { by: Part['by']; name: string; answers: Placed[] };

function byClass(answers: readonly Placed[]): Group[] {
  const known = answers.filter((answer) => answer.class !== undefined);
  const groups = Map.groupBy(known, (answer) => answer.class!);
  return [...groups].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, of]) => ({ by: 'class', name, answers: of }));
}

function byLength(answers: readonly Placed[]): Group[] {
  const lengths = answers.map(({ characters }) => characters).sort((a, b) => a - b);
  const ends = Array.from(
    { length: LENGTHS - 1 },
    (_, i) => lengths[Math.ceil((lengths.length * (i + 1)) / LENGTHS) - 1]!,
  );
  const bounds = [...new Set([0, ...ends.map((end) => end + 1)])];
  return bounds.flatMap((from, i): Group[] => {
    const to = bounds[i + 1];
    const of = answers.filter(({ characters }) => characters >= from && (to === undefined || characters < to));
    const name = to === undefined ? `${from} characters and more` : `${from} to ${to - 1} characters`;
    return of.length === 0 ? [] : [{ by: 'length', name, answers: of }];
  });
}

/** Nothing where all come from one source: that is the whole test. */
function bySource(answers: readonly Placed[]): Group[] {
  const groups = [...Map.groupBy(answers, ({ origin }) => origin)]
    .map(([name, of]): Group => ({ by: 'source', name: name || 'unnamed', answers: of }))
    .sort((a, b) => b.answers.length - a.answers.length || (a.name < b.name ? -1 : 1));
  if (groups.length < 2) return [];
  const rest = groups.slice(MAX_SOURCES).flatMap((group) => group.answers);
  return [
    ...groups.slice(0, MAX_SOURCES),
    ...(rest.length > 0 ? [{ by: 'source' as const, name: 'other sources', answers: rest }] : []),
  ];
}
