/** Batches of a run: which prompts are still waited for, and which run can be sealed. */
import { TerminalError } from '@understudy/service/errors';
import { declineAwaited } from '../erasure/forgotten.ts';
import type { Database, Sql } from './database.ts';
import { lockTask } from './record.ts';
import { DUE } from './record-sql.ts';

export interface ClosedBatch {
  readonly runId: string;
  readonly batch: number;
  readonly task: string;
  readonly taskDigest: string;
  readonly manifestDigest: string;
  readonly promptIds: readonly string[];
  readonly seal: boolean;
  readonly traceparent: string | undefined;
}

/**
 * Remembers the batch and which of its prompts have no outcome yet. The same batch again changes nothing.
 * @throws TerminalError when the batch was closed before with other prompts
 */
export async function closeBatch(database: Database, closed: ClosedBatch): Promise<void> {
  await database.transaction(async (sql) => {
    await lockTask(sql, closed.task);
    if (!(await insertBatch(sql, closed))) return;
    await lookAgain(sql, closed.runId, closed.batch);
    if (await declineAwaited(sql, closed.task)) await lookAgain(sql, closed.runId, closed.batch);
  });
}

/**
 * Looks which of the prompts that a batch waited for have an outcome by now, and from how many outcomes of its run on it
 * may be complete: it lacks as many as it still waits for. Call it under the task's lock.
 */
async function lookAgain(sql: Sql, runId: string, batch: number): Promise<void> {
  await sql.query(
    `with still as (
       select coalesce(array_agg(id), '{}') as ids, count(*)::int as prompts
       from batches, unnest(waiting_for) as id
       where run_id = $1 and batch = $2
         and not exists (select from outcomes o where o.run_id = $1 and o.prompt_id = id)
     )
     update batches b
     set waiting_for = still.ids, waiting = still.prompts, complete_from = r.answered + r.declined + still.prompts
     from still, runs r where b.run_id = $1 and b.batch = $2 and r.run_id = $1`,
    [runId, batch],
  );
}

/** Looks again at every batch that may be complete by now. */
export async function lookAtDue(database: Database): Promise<void> {
  const due = await database.query<{ run_id: string; batch: number; task: string }>(
    `select b.run_id, b.batch, b.task from batches b join runs r using (run_id) where ${DUE}`,
  );
  for (const { run_id, batch, task } of due) {
    await database.transaction(async (sql) => {
      await lockTask(sql, task);
      await lookAgain(sql, run_id, batch);
    });
  }
}

/** False when the very same batch is there already. */
async function insertBatch(sql: Sql, closed: ClosedBatch): Promise<boolean> {
  const { runId, batch, task, taskDigest, manifestDigest, promptIds, seal, traceparent } = closed;
  const inserted = await sql.query(
    `with new_run as (insert into runs (run_id, task) values ($1, $3) on conflict do nothing)
     insert into batches (run_id, batch, task, task_digest, manifest_digest, seal, traceparent, waiting_for)
     values ($1, $2, $3, $4, $5, $6, $7, array(select decode(id, 'hex') from unnest($8::text[]) as id)) on conflict do nothing returning batch`,
    [runId, batch, task, taskDigest, manifestDigest, seal, traceparent ?? null, promptIds],
  );
  if (inserted.length > 0) return true;
  const [before] = await sql.query<{ manifest_digest: string; seal: boolean }>(
    'select manifest_digest, seal from batches where run_id = $1 and batch = $2',
    [runId, batch],
  );
  if (before?.manifest_digest === manifestDigest && before.seal === seal) return false;
  throw new TerminalError(
    `batch ${batch} of run ${runId} was closed before with manifest ${before?.manifest_digest} and seal ${before?.seal}, now with ${manifestDigest} and ${seal}`,
  );
}

/** A batch whose run can be sealed. */
export interface Sealable {
  readonly run_id: string;
  readonly batch: number;
  readonly task: string;
  readonly task_digest: string;
  readonly traceparent: string | null;
  /** 1 for the run's first seal. */
  readonly seal: number;
}

/**
 * The oldest batch that asks for a seal, and before which (itself included) every batch of its run is closed and complete.
 * Batches are numbered from 1; a run that has one batch alone may also call it 0.
 */
export async function findSealable(sql: Sql): Promise<Sealable | undefined> {
  const [found] = await sql.query<Sealable>(
    `select b.run_id, b.batch, b.task, b.task_digest, b.traceparent,
       (select count(*)::int from batches s where s.run_id = b.run_id and s.seal and s.batch <= b.batch) as seal
     from batches b join runs r using (run_id)
     where b.seal and b.sealed_at is null and not r.cancelled
       and not exists (select from batches w where w.run_id = b.run_id and w.batch <= b.batch and w.waiting > 0)
       and (select count(*) from batches c where c.run_id = b.run_id and c.batch between 1 and b.batch) = b.batch
     order by b.closed_at, b.run_id, b.batch limit 1`,
  );
  return found;
}
