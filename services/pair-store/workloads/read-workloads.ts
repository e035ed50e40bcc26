import { create } from '@bufbuild/protobuf';
import { type Timestamp, TimestampSchema } from '@bufbuild/protobuf/wkt';
import { type Workload, type WorkloadPair, WorkloadPairSchema, WorkloadSchema } from '@understudy/contract/pair-store';
import type { Sql } from '../store/database.ts';
import { RANKS } from './add-up.ts';

interface WorkloadRow {
  id: string;
  system: string | null;
  schema_json: string | null;
  upstream: string;
  model: string;
  obstacle: string;
  input_price: number | null;
  output_price: number | null;
  calls: number;
  failed: number;
  obstructed: number;
  unmetered: number;
  unpriced: number;
  input_tokens: number;
  output_tokens: number;
  spent_micro_usd: number;
  first_at_us: number;
  last_at_us: number;
  inputs_below: number;
  kept_inputs: number;
  outputs_below: number;
  kept_outputs: number;
}

/** Ids of the workloads that begin so, the most called first. */
export async function workloadIds(sql: Sql, prefix: string): Promise<string[]> {
  const rows = await sql.query<{ id: string }>(
    `select encode(workload_id, 'hex') as id from workloads where starts_with(encode(workload_id, 'hex'), $1)
     order by calls desc, workload_id`,
    [prefix],
  );
  return rows.map(({ id }) => id);
}

/** A workload with its whole prompt; undefined where it is gone in the meantime. */
export async function workload(sql: Sql, id: string): Promise<Workload | undefined> {
  const [row] = await sql.query<WorkloadRow>(
    `select encode(workload_id, 'hex') as id, * from workloads where workload_id = decode($1, 'hex')`,
    [id],
  );
  return row && workloadOf(row);
}

/** Pairs of a workload by rank, from one on. */
export async function workloadPairs(
  sql: Sql,
  id: string,
  fromRank: number,
  limit: number,
): Promise<{ rank: number; pair: WorkloadPair }[]> {
  const rows = await sql.query<PairRow>(
    `select rank, input, output, model, times, input_tokens, output_tokens, at_us from workload_pairs
     where workload_id = decode($1, 'hex') and rank >= $2 order by rank limit $3`,
    [id, fromRank, limit],
  );
  return rows.map(({ rank, input, output, model, times, input_tokens, output_tokens, at_us }) => ({
    rank,
    pair: create(WorkloadPairSchema, {
      ...{ input, output, model, times, at: timestampOf(at_us) },
      ...{ inputTokens: BigInt(input_tokens), outputTokens: BigInt(output_tokens) },
    }),
  }));
}

interface PairRow {
  rank: number;
  input: string;
  output: string;
  model: string;
  times: number;
  input_tokens: number;
  output_tokens: number;
  at_us: number;
}

const workloadOf = (row: WorkloadRow): Workload =>
  create(WorkloadSchema, {
    workloadId: row.id,
    ...(row.system !== null && { system: row.system }),
    ...(row.schema_json !== null && { schemaJson: row.schema_json }),
    ...(row.input_price !== null && { inputPrice: row.input_price }),
    ...(row.output_price !== null && { outputPrice: row.output_price }),
    ...{ upstream: row.upstream, model: row.model, obstacle: row.obstacle, keptPairs: row.kept_inputs },
    ...{ calls: BigInt(row.calls), failed: BigInt(row.failed), obstructed: BigInt(row.obstructed) },
    ...{ unmetered: BigInt(row.unmetered), unpriced: BigInt(row.unpriced) },
    ...{ inputTokens: BigInt(row.input_tokens), outputTokens: BigInt(row.output_tokens) },
    spentMicroUsd: BigInt(row.spent_micro_usd),
    ...{ firstAt: timestampOf(row.first_at_us), lastAt: timestampOf(row.last_at_us) },
    distinctInputs: distinct(row.kept_inputs, row.inputs_below),
    distinctOutputs: distinct(row.kept_outputs, row.outputs_below),
  });

/** What is kept is the share `below / RANKS` of all distinct ones; their number is exact where that is all of them. */
const distinct = (kept: number, below: number): bigint => BigInt(Math.round((kept * RANKS) / below));

const timestampOf = (us: number): Timestamp =>
  create(TimestampSchema, { seconds: BigInt(Math.floor(us / 1_000_000)), nanos: (us % 1_000_000) * 1_000 });
