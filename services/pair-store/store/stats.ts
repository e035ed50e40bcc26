import { DeclineReason, Split } from '@understudy/contract';
import type { StatsResponse } from '@understudy/contract/pair-store';
import type { Manifest } from '../snapshot/manifest.ts';
import { countNow } from '../snapshot/read-pairs.ts';
import type { Database, Sql } from './database.ts';

type Stats = Omit<StatsResponse, '$typeName' | '$unknown'>;

/** Answers from which a run's median latency is taken. They are the first by SHA-256, so a random sample: ±3.2 points of the quantile. */
const LATENCY_SAMPLE = 250;

const SPLITS = `train_pairs as "trainPairs", dev_pairs as "devPairs", test_pairs as "testPairs", quarantined_pairs as "quarantinedPairs"`;

/** What became of a run's prompts. Cheap: asked several times a second while a run goes on. */
export async function runStats(sql: Sql, runId: string): Promise<Stats> {
  const [counts] = await sql.query<CountRow & PairRow>(
    `select answered, declined, cached, spent_micro_usd, calls, answered as pairs, groups, ${SPLITS}
     from runs where run_id = $1`,
    [runId],
  );
  const [latency] = await sql.query<{ median_us: number | null }>(
    `select percentile_cont(0.5) within group (order by duration_us) as median_us
     from (select duration_us from outcomes where run_id = $1 and pair_id is not null and not cached
           order by prompt_id limit ${LATENCY_SAMPLE}) as sample`,
    [runId],
  );
  const declinesByReason = await declines(sql, '= $1', runId);
  return statsOf(counts ?? NO_COUNTS, counts ?? NO_PAIRS, latency?.median_us ?? 0, declinesByReason);
}

/** What became of all prompts of a task, over its runs, and the pairs that it has. Reads them all. */
export async function taskStats(sql: Sql, task: string): Promise<Stats> {
  const [counts] = await sql.query<CountRow>(
    `select coalesce(sum(answered), 0)::int as answered, coalesce(sum(declined), 0)::int as declined,
       coalesce(sum(cached), 0)::int as cached, coalesce(sum(spent_micro_usd), 0)::bigint as spent_micro_usd,
       coalesce(sum(calls), 0)::int as calls
     from runs where task = $1`,
    [task],
  );
  const [latency] = await sql.query<{ median_us: number | null }>(
    'select percentile_cont(0.5) within group (order by duration_us) as median_us from pairs where task = $1',
    [task],
  );
  const inSplit = (split: Split) => `count(*) filter (where p.split = ${split})::int`;
  const [pairs] = await sql.query<PairRow>(
    `select count(*)::int as pairs, count(distinct p.group_id) filter (where p.split <> ${Split.QUARANTINED})::int as groups,
       ${inSplit(Split.TRAIN)} as "trainPairs", ${inSplit(Split.DEV)} as "devPairs",
       ${inSplit(Split.TEST)} as "testPairs", ${inSplit(Split.QUARANTINED)} as "quarantinedPairs"
     from pairs a join prompts p using (prompt_id) where a.task = $1`,
    [task],
  );
  const declinesByReason = await declines(sql, 'in (select run_id from runs where task = $1)', task);
  return statsOf(counts ?? NO_COUNTS, pairs ?? NO_PAIRS, latency?.median_us ?? 0, declinesByReason);
}

/** Of the pairs that have come since a snapshot and would be in one of the same teacher today. What was erased since is not counted against them. */
export async function statsBeyond(
  database: Database,
  { task, fingerprint, splits, leftOut }: Manifest,
): Promise<Stats> {
  const now = await countNow(database, { task, fingerprint });
  const before = { ...splits, train: splits.train + leftOut.capped };
  const [trainPairs, devPairs, testPairs] = (['train', 'dev', 'test'] as const).map((split) =>
    Math.max(0, now[split] - before[split]),
  ) as [number, number, number];
  const found = { ...NO_PAIRS, pairs: trainPairs + devPairs + testPairs, trainPairs, devPairs, testPairs };
  return statsOf(NO_COUNTS, found, 0, {});
}

interface CountRow {
  answered: number;
  declined: number;
  cached: number;
  spent_micro_usd: number;
  calls: number;
}

interface PairRow {
  pairs: number;
  groups: number;
  trainPairs: number;
  devPairs: number;
  testPairs: number;
  quarantinedPairs: number;
}

const NO_COUNTS: CountRow = { answered: 0, declined: 0, cached: 0, spent_micro_usd: 0, calls: 0 };
const NO_PAIRS: PairRow = { pairs: 0, groups: 0, trainPairs: 0, devPairs: 0, testPairs: 0, quarantinedPairs: 0 };

async function declines(sql: Sql, runs: string, of: string): Promise<Record<string, number>> {
  const rows = await sql.query<{ reason: DeclineReason; prompts: number }>(
    `select decline_reason as reason, count(*)::int as prompts from outcomes
     where run_id ${runs} and decline_reason is not null group by decline_reason order by decline_reason`,
    [of],
  );
  return Object.fromEntries(rows.map(({ reason, prompts }) => [DeclineReason[reason] ?? String(reason), prompts]));
}

function statsOf(
  outcomes: CountRow,
  found: PairRow,
  medianUs: number,
  declinesByReason: Record<string, number>,
): Stats {
  const { answered, declined, cached, spent_micro_usd, calls } = outcomes;
  const { pairs, groups, trainPairs, devPairs, testPairs, quarantinedPairs } = found;
  return {
    ...{ answered, declined, cached, declinesByReason },
    spentMicroUsd: BigInt(spent_micro_usd),
    teacherCalls: calls,
    teacherMedianLatencyMs: medianUs / 1e3,
    ...{ pairs, groups, trainPairs, devPairs, testPairs, quarantinedPairs },
  };
}
