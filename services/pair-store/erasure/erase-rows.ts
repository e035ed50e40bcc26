/** Takes inputs, and all that came of them, out of the tables. */
import { create } from '@bufbuild/protobuf';
import { ErasureStepSchema } from '@understudy/contract/pair-store';
import { invalidArgument } from '@understudy/service/rpc/status';
import type { CompiledTask } from '@understudy/task';
import { InputMatcher } from '@understudy/task/versions';
import { MAX_WORKLOAD_PAIRS_PER_READ } from '../limits.ts';
import type { Database, Sql } from '../store/database.ts';
import { lockTask } from '../store/record.ts';
import { addForgotten, bytesOf, declineAwaited } from './forgotten.ts';
import { type BegunErasure, beginErasure, noteStep } from './journal.ts';

/** What pair-store's part of an erasure is called in its journal. */
export const OWN_STEP = 'pair-store';

export interface ErasureRequest extends BegunErasure {
  /** Beside those that it has from earlier attempts. */
  readonly promptIds: readonly string[];
}

export interface ErasedRows {
  /** All that the erasure is about, those of the source included. */
  readonly promptIds: ReadonlySet<string>;
  /** Of each table; the journal has them already. */
  readonly erased: { readonly prompts: number; readonly pairs: number; readonly decisions: number };
  /** A run that waited for one of them may be complete now. */
  readonly batchDue: boolean;
}

/** In one transaction: the journal's entry, the list of what is not kept again, and the rows themselves. */
export async function eraseRows(database: Database, request: ErasureRequest): Promise<ErasedRows> {
  const { erasureId, task, source } = request;
  return database.transaction(async (sql) => {
    await lockTask(sql, task);
    await requireOwn(sql, task, request.promptIds);
    await beginErasure(sql, request);
    const ofSource = source === '' ? [] : await promptsOfSource(sql, task, source);
    await addForgotten(sql, task, erasureId, new Set([...request.promptIds, ...ofSource]));
    const promptIds = new Set([...request.promptIds, ...(await promptsOfErasure(sql, erasureId))]);
    const ids = bytesOf(promptIds);
    const pairs = await sql.query('delete from pairs where task = $1 and prompt_id = any ($2::bytea[]) returning seq', [
      task,
      ids,
    ]);
    const prompts = await sql.query(
      'delete from prompts where task = $1 and prompt_id = any ($2::bytea[]) returning seq',
      [task, ids],
    );
    const decisions = await sql.query(
      'delete from decisions where task = $1 and prompt_id = any ($2::bytea[]) returning seq',
      [task, ids],
    );
    // Why a teacher declined may quote what it was asked.
    await sql.query(
      `update outcomes set decline_detail = '' where prompt_id = any ($1::bytea[]) and decline_detail <> ''`,
      [ids],
    );
    const batchDue = await declineAwaited(sql, task);
    const erased = { prompts: prompts.length, pairs: pairs.length, decisions: decisions.length };
    // Noted with the rows: whoever goes on after a kill finds none, and would say that there was nothing.
    const counts = Object.fromEntries(Object.entries(erased).map(([kind, count]) => [kind, BigInt(count)]));
    await noteStep(sql, erasureId, create(ErasureStepSchema, { step: OWN_STEP, erased: counts }));
    return { promptIds, erased, batchDue };
  });
}

/** @throws RpcError where an id is another task's, which would lose what comes of it although nobody forgot it there */
async function requireOwn(sql: Sql, task: string, promptIds: readonly string[]): Promise<void> {
  const [other] = await sql.query<{ id: string; task: string }>(
    `select encode(prompt_id, 'hex') as id, task from prompts where prompt_id = any ($1::bytea[]) and task <> $2 limit 1`,
    [bytesOf(promptIds), task],
  );
  if (other) throw invalidArgument(`prompt_ids: expected inputs of ${task}; ${other.id} is one of ${other.task}`);
}

/** What an earlier attempt has found of a source: its pairs are gone by now. */
async function promptsOfErasure(sql: Sql, erasureId: string): Promise<string[]> {
  const rows = await sql.query<{ id: string }>(
    `select encode(prompt_id, 'hex') as id from forgotten where erasure_id = $1`,
    [erasureId],
  );
  return rows.map(({ id }) => id);
}

async function promptsOfSource(sql: Sql, task: string, source: string): Promise<string[]> {
  const rows = await sql.query<{ id: string }>(
    `select distinct encode(prompt_id, 'hex') as id from pairs where task = $1 and origin = $2`,
    [task, source],
  );
  return rows.map(({ id }) => id);
}

/** Recorded calls belong to no task: each is read as one of this task's would be. @returns how many went */
export async function eraseWorkloadPairs(
  database: Database,
  versions: readonly CompiledTask[],
  promptIds: ReadonlySet<string>,
): Promise<number> {
  const matcher = new InputMatcher(versions, promptIds);
  const workloads = await database.query<{ id: Uint8Array }>('select workload_id as id from workloads');
  let erased = 0;
  for (const { id } of workloads) {
    for (let after = -1; ; ) {
      const rows = await database.query<{ rank: number; input: string }>(
        `select rank, input from workload_pairs where workload_id = $1 and rank > $2
         order by rank limit ${MAX_WORKLOAD_PAIRS_PER_READ}`,
        [id, after],
      );
      const ranks = rows.filter(({ input }) => matcher.isMessage(input)).map(({ rank }) => rank);
      if (ranks.length > 0) await deletePairs(database, id, ranks);
      erased += ranks.length;
      if (rows.length < MAX_WORKLOAD_PAIRS_PER_READ) break;
      after = rows.at(-1)!.rank;
    }
  }
  return erased;
}

async function deletePairs(database: Database, workload: Uint8Array, ranks: readonly number[]): Promise<void> {
  await database.transaction((sql) =>
    sql.query(
      `with gone as (
         delete from workload_pairs where workload_id = $1 and rank = any ($2::bigint[]) returning bytes
       )
       update workloads set kept_inputs = kept_inputs - (select count(*) from gone)::int,
         kept_bytes = kept_bytes - (select coalesce(sum(bytes), 0) from gone)::bigint
       where workload_id = $1`,
      [workload, ranks],
    ),
  );
}
