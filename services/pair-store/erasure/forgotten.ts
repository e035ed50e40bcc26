/** The list of ids that are never kept again. */
import { create } from '@bufbuild/protobuf';
import { DeclineReason, UsageSchema } from '@understudy/contract';
import type { Sql } from '../store/database.ts';
import type { Decline } from '../store/record.ts';
import { declinedRow, RECORD } from '../store/record-sql.ts';

/** What a decline of a forgotten input says; nothing of the input. */
export const FORGOTTEN_DETAIL = 'the input was forgotten: it is neither asked nor kept';

export const bytesOf = (ids: Iterable<string>): Buffer[] => Array.from(ids, (id) => Buffer.from(id, 'hex'));

/** Those of the ids that are on the list. */
export async function forgottenAmong(sql: Sql, ids: ReadonlySet<string>): Promise<Set<string>> {
  const rows = await sql.query<{ id: string }>(
    `select encode(prompt_id, 'hex') as id from forgotten where prompt_id = any ($1::bytea[])`,
    [bytesOf(ids)],
  );
  return new Set(rows.map(({ id }) => id));
}

/** All of a task's, in order, from one id (exclusive) on. */
export async function forgottenOf(sql: Sql, task: string, after: string, limit: number): Promise<string[]> {
  const rows = await sql.query<{ id: string }>(
    `select encode(prompt_id, 'hex') as id from forgotten
     where task = $1 and prompt_id > decode($2, 'hex') group by prompt_id order by prompt_id limit $3`,
    [task, after, limit],
  );
  return rows.map(({ id }) => id);
}

export async function addForgotten(sql: Sql, task: string, erasureId: string, ids: Iterable<string>): Promise<void> {
  await sql.query(
    `insert into forgotten (prompt_id, task, erasure_id) select id, $1, $2 from unnest($3::bytea[]) as id on conflict do nothing`,
    [task, erasureId, bytesOf(ids)],
  );
}

/**
 * Gives forgotten inputs that a closed batch waits for their outcome: nobody will answer them any more. Call it under the task's lock.
 * @returns true when a batch may be complete now
 */
export async function declineAwaited(sql: Sql, task: string): Promise<boolean> {
  const awaited = await sql.query<{ run_id: string; prompt_id: string }>(
    `select distinct b.run_id, encode(f.prompt_id, 'hex') as prompt_id
     from batches b, unnest(b.waiting_for) as id join forgotten f on f.prompt_id = id
     where b.task = $1 and b.waiting > 0
       and not exists (select from outcomes o where o.run_id = b.run_id and o.prompt_id = id)`,
    [task],
  );
  if (awaited.length === 0) return false;
  const outcomes = awaited.map(({ run_id, prompt_id }) => declinedRow(declineOfForgotten(run_id, prompt_id)));
  const [done] = await sql.query<{ batch_due: boolean }>(RECORD, [task, '[]', '[]', JSON.stringify(outcomes)]);
  return done?.batch_due ?? false;
}

export const declineOfForgotten = (runId: string, promptId: string): Decline => ({
  runId,
  promptId,
  reason: DeclineReason.FORGOTTEN,
  detail: FORGOTTEN_DETAIL,
  usage: create(UsageSchema),
});
