import type { RunState, SourceReport, WritingReport } from '@understudy/contract/prompt';
import { count, dollars, percent } from './format.ts';

/** What came of a run's sources, as rows of a report: only where it is not all in the other rows already. */
export const sourceRows = ({ sources }: RunState): string[][] => {
  const plain = ({ trainsOnly, irrelevant, pairs, badRecords, forgotten, writing }: SourceReport) =>
    !trainsOnly && irrelevant + pairs + badRecords + forgotten === 0 && writing === undefined;
  if (sources.length < 2 && sources.every(plain)) return [];
  return [
    ...sources.map((source, index) => [index === 0 ? 'sources' : '', sourceText(source)]),
    ...sources
      .flatMap(({ irrelevantDetails }) => irrelevantDetails)
      .map((detail, index) => [index === 0 ? 'left out' : '', detail]),
  ];
};

const sourceText = (source: SourceReport): string => {
  const { records, badRecords, irrelevant, pairs, possible, trainsOnly, faults, forgotten, writing } = source;
  const reasons = Object.entries(faults).map(([reason, times]) => `${reason} ${count(times)}`);
  return [
    `${source.source}: ${count(records)} records`,
    ...(pairs > 0 ? [`${count(pairs)} finished pairs`] : []),
    ...(badRecords > 0 ? [`${count(badRecords)} unusable${reasons.length > 0 ? ` (${reasons.join(', ')})` : ''}`] : []),
    ...(irrelevant > 0 ? [`${count(irrelevant)} do not belong to the task`] : []),
    ...(forgotten > 0 ? [`${count(forgotten)} forgotten`] : []),
    ...(possible > 0n
      ? [
          `of ${possible > BigInt(Number.MAX_SAFE_INTEGER) ? '10¹⁵ and more' : count(Number(possible))} that its grammar can make`,
        ]
      : []),
    ...(writing ? [writingText(writing)] : []),
    ...(trainsOnly ? ['for training only'] : []),
  ].join(', ');
};

const writingText = (writing: WritingReport): string => {
  const { calls, written, kept, exactDuplicates, nearDuplicates, unusable, spentMicroUsd, reason } = writing;
  if (calls === 0) return `${count(kept)} written in earlier runs`;
  const share = (part: number) => percent(written === 0 ? 0 : part / written);
  const parts = [
    `${count(calls)} calls for ${dollars(spentMicroUsd)} wrote ${count(written)}`,
    `${share(exactDuplicates + nearDuplicates)} duplicates`,
    ...(unusable > 0 ? [`${share(unusable)} unusable`] : []),
    `${count(kept)} kept in all`,
    ...(reason === '' ? [] : [`ended because: ${reason}`]),
  ];
  return parts.join(', ');
};
