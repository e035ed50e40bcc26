import type { CallObserved } from '@understudy/contract';
import {
  CALLS_REMEMBERED,
  MAX_WORKLOAD_BYTES,
  MAX_WORKLOAD_OUTPUTS,
  MAX_WORKLOAD_PAIRS,
  MAX_WORKLOADS,
} from '../limits.ts';
import type { Database, Sql } from '../store/database.ts';
import { type Addition, addUp } from './add-up.ts';

/**
 * Adds calls to their workloads, each once, however often and wherever it is delivered. What is kept is bounded: of the
 * inputs of a workload those of lowest rank, of the workloads those most called.
 */
export async function recordCalls(database: Database, calls: readonly CallObserved[], limits = LIMITS): Promise<void> {
  await database.transaction(async (sql) => {
    await sql.query(`select pg_advisory_xact_lock(hashtextextended('understudy workloads', 0))`);
    const fresh = await freshCalls(sql, calls);
    const additions = addUp(fresh);
    for (const addition of additions) await addToWorkload(sql, addition, limits);
    await keepWithinTotals(sql, additions, limits);
  });
}

export const LIMITS = {
  pairs: MAX_WORKLOAD_PAIRS,
  outputs: MAX_WORKLOAD_OUTPUTS,
  workloads: MAX_WORKLOADS,
  bytes: MAX_WORKLOAD_BYTES,
};
type Limits = typeof LIMITS;

/** When something is over its limit it is cut to this share of it, so that not each batch has to cut. */
const KEPT_OF_FULL = 0.8;

/** Those that were not counted before; from now on they are. */
async function freshCalls(sql: Sql, calls: readonly CallObserved[]): Promise<CallObserved[]> {
  const byId = new Map(calls.map((call) => [call.callId, call]));
  const rows = await sql.query<{ call_id: string }>(
    `insert into workload_calls (call_id) select id::uuid from jsonb_array_elements_text($1::jsonb) as id
     on conflict do nothing returning call_id`,
    [JSON.stringify([...byId.keys()])],
  );
  await sql.query(`delete from workload_calls where counted_at < now() - interval '${CALLS_REMEMBERED}'`);
  return rows.map(({ call_id: id }) => byId.get(id)!);
}

async function addToWorkload(sql: Sql, addition: Addition, limits: Limits): Promise<void> {
  const below = await addCounts(sql, addition);
  const pairs = [...addition.pairs.values()].filter(({ rank }) => rank < below.inputs_below);
  const outputs = [...addition.outputs].filter((rank) => rank < below.outputs_below);
  const kept = await addKept(sql, addition.workload, pairs, outputs);
  if (kept.kept_inputs > limits.pairs) await cutPairs(sql, addition.workload, Math.floor(limits.pairs * KEPT_OF_FULL));
  if (kept.kept_outputs > limits.outputs) {
    await cutOutputs(sql, addition.workload, Math.floor(limits.outputs * KEPT_OF_FULL));
  }
}

async function addCounts(sql: Sql, addition: Addition): Promise<{ inputs_below: number; outputs_below: number }> {
  const { newest } = addition;
  const [row] = await sql.query<{ inputs_below: number; outputs_below: number }>(
    `insert into workloads as w (workload_id, system, schema_json, upstream, model, obstacle, input_price, output_price,
       calls, failed, obstructed, unmetered, unpriced, input_tokens, output_tokens, spent_micro_usd, first_at_us, last_at_us)
     values (decode($1, 'hex'), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
     on conflict (workload_id) do update set
       system = coalesce(excluded.system, w.system), schema_json = coalesce(excluded.schema_json, w.schema_json),
       upstream = case when excluded.last_at_us < w.last_at_us then w.upstream else excluded.upstream end,
       model = case when excluded.last_at_us < w.last_at_us then w.model else excluded.model end,
       obstacle = case when excluded.obstacle = '' then w.obstacle else excluded.obstacle end,
       input_price = coalesce(excluded.input_price, w.input_price),
       output_price = coalesce(excluded.output_price, w.output_price),
       calls = w.calls + excluded.calls, failed = w.failed + excluded.failed,
       obstructed = w.obstructed + excluded.obstructed, unmetered = w.unmetered + excluded.unmetered,
       unpriced = w.unpriced + excluded.unpriced, input_tokens = w.input_tokens + excluded.input_tokens,
       output_tokens = w.output_tokens + excluded.output_tokens,
       spent_micro_usd = w.spent_micro_usd + excluded.spent_micro_usd,
       first_at_us = least(w.first_at_us, excluded.first_at_us), last_at_us = greatest(w.last_at_us, excluded.last_at_us)
     returning inputs_below, outputs_below`,
    [
      ...[addition.workload, addition.system ?? null, addition.schemaJson ?? null, newest.upstream, newest.model],
      ...[addition.obstacle, newest.inputPrice ?? null, newest.outputPrice ?? null, addition.calls, addition.failed],
      ...[addition.obstructed, addition.unmetered, addition.unpriced, addition.inputTokens, addition.outputTokens],
      ...[addition.spentMicroUsd, addition.firstAtUs, addition.lastAtUs],
    ],
  );
  if (!row) throw new Error(`workload ${addition.workload}: expected its row, got none`);
  return row;
}

interface Kept {
  kept_inputs: number;
  kept_outputs: number;
}

async function addKept(
  sql: Sql,
  workload: string,
  pairs: readonly object[],
  outputs: readonly number[],
): Promise<Kept> {
  const [row] = await sql.query<Kept>(
    `with pairs as (
       insert into workload_pairs as p select decode($1, 'hex'), r.* from jsonb_to_recordset($2::jsonb)
         as r(rank bigint, input text, output text, model text, times int, input_tokens bigint, output_tokens bigint,
              at_us bigint, bytes int)
       on conflict (workload_id, rank) do update set times = p.times + excluded.times
       returning bytes, xmax = 0 as is_new
     ), outputs as (
       insert into workload_outputs select decode($1, 'hex'), r::bigint from jsonb_array_elements_text($3::jsonb) as r
       on conflict do nothing returning rank
     )
     update workloads set kept_inputs = kept_inputs + (select count(*) from pairs where is_new)::int,
       kept_bytes = kept_bytes + (select coalesce(sum(bytes), 0) from pairs where is_new)::bigint,
       kept_outputs = kept_outputs + (select count(*) from outputs)::int
     where workload_id = decode($1, 'hex') returning kept_inputs, kept_outputs`,
    [workload, JSON.stringify(pairs), JSON.stringify(outputs)],
  );
  if (!row) throw new Error(`workload ${workload}: expected its row, got none`);
  return row;
}

/** Keeps the inputs of lowest rank, and from now on takes only such. */
async function cutPairs(sql: Sql, workload: string, keep: number): Promise<void> {
  await sql.query(
    `with cut as (select rank from workload_pairs where workload_id = decode($1, 'hex') order by rank offset $2 limit 1),
     gone as (delete from workload_pairs where workload_id = decode($1, 'hex') and rank >= (select rank from cut)
       returning bytes)
     update workloads set inputs_below = coalesce((select rank from cut), inputs_below),
       kept_inputs = kept_inputs - (select count(*) from gone)::int,
       kept_bytes = kept_bytes - (select coalesce(sum(bytes), 0) from gone)::bigint
     where workload_id = decode($1, 'hex')`,
    [workload, keep],
  );
}

async function cutOutputs(sql: Sql, workload: string, keep: number): Promise<void> {
  await sql.query(
    `with cut as (select rank from workload_outputs where workload_id = decode($1, 'hex') order by rank offset $2 limit 1),
     gone as (delete from workload_outputs where workload_id = decode($1, 'hex') and rank >= (select rank from cut)
       returning rank)
     update workloads set outputs_below = coalesce((select rank from cut), outputs_below),
       kept_outputs = kept_outputs - (select count(*) from gone)::int
     where workload_id = decode($1, 'hex')`,
    [workload, keep],
  );
}

/** Too many workloads: the least called go, those of this batch excepted. Too many bytes: the largest sample is halved. */
async function keepWithinTotals(sql: Sql, additions: readonly Addition[], limits: Limits): Promise<void> {
  const own = JSON.stringify(additions.map(({ workload }) => workload));
  await sql.query(
    `with gone as (
       delete from workloads where workload_id in (
         select workload_id from workloads
         where encode(workload_id, 'hex') not in (select jsonb_array_elements_text($1::jsonb))
         order by calls, last_at_us limit greatest((select count(*) from workloads) - $2, 0)
       ) returning workload_id
     ), pairs as (delete from workload_pairs where workload_id in (select workload_id from gone))
     delete from workload_outputs where workload_id in (select workload_id from gone)`,
    [own, limits.workloads],
  );
  for (;;) {
    const [largest] = await sql.query<{ id: string; kept_inputs: number; total: number }>(
      `select encode(workload_id, 'hex') as id, kept_inputs, (select sum(kept_bytes) from workloads)::bigint as total
       from workloads order by kept_bytes desc, workload_id limit 1`,
    );
    if (!largest || largest.total <= limits.bytes || largest.kept_inputs === 0) return;
    await cutPairs(sql, largest.id, largest.kept_inputs >> 1);
  }
}
