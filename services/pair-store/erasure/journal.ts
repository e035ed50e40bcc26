/** What is remembered of erasures: who asked, why, how many inputs, and which steps are done. Never the text. */
import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { type Erasure, ErasureSchema, type ErasureStep, ErasureStepSchema } from '@understudy/contract/pair-store';
import { z } from 'zod';
import { MAX_LISTED_ERASURES } from '../limits.ts';
import type { Sql } from '../store/database.ts';

/** Counts are numbers in JSON: far below 2^53. */
const Result = z.object({ erased: z.record(z.string(), z.number()), students: z.record(z.string(), z.string()) });
type Result = z.infer<typeof Result>;

interface ErasureRow {
  erasure_id: string;
  task: string;
  author: string;
  reason: string;
  source: string | null;
  inputs: number;
  requested_at: Date;
  done_at: Date | null;
}

/** What is meant by an erasure that was begun, beside its inputs. */
export interface BegunErasure {
  readonly erasureId: string;
  readonly task: string;
  /** Empty where no whole source is meant. */
  readonly source: string;
  readonly author: string;
  readonly reason: string;
}

export async function begunErasure(sql: Sql, erasureId: string): Promise<BegunErasure | undefined> {
  const [row] = await sql.query<Pick<ErasureRow, 'task' | 'source' | 'author' | 'reason'>>(
    'select task, source, author, reason from erasures where erasure_id = $1',
    [erasureId],
  );
  return row && { ...row, erasureId, source: row.source ?? '' };
}

/** Begins an erasure, or takes up the one of the same name; whoever asked last, and why, stays with it. */
export async function beginErasure(sql: Sql, { erasureId, task, author, reason, source }: BegunErasure): Promise<void> {
  await sql.query(
    `insert into erasures (erasure_id, task, author, reason, source) values ($1, $2, $3, $4, $5)
     on conflict (erasure_id) do update set author = excluded.author, reason = excluded.reason, done_at = null`,
    [erasureId, task, author, reason, source === '' ? null : source],
  );
}

/** Adds what came of a step to what other attempts made of it; the newest word on a student stays. Call it in a transaction. */
export async function noteStep(sql: Sql, erasureId: string, step: ErasureStep): Promise<void> {
  // Of two attempts at once the second adds to what the first has written.
  await sql.query('select from erasures where erasure_id = $1 for update', [erasureId]);
  const [before] = await sql.query<{ result: string }>(
    'select result from erasure_steps where erasure_id = $1 and step = $2',
    [erasureId, step.step],
  );
  const { erased, students } = before ? Result.parse(JSON.parse(before.result)) : { erased: {}, students: {} };
  const result: Result = { erased: { ...erased }, students: { ...students, ...step.students } };
  for (const [kind, count] of Object.entries(step.erased)) {
    result.erased[kind] = (result.erased[kind] ?? 0) + Number(count);
  }
  await sql.query(
    `insert into erasure_steps (erasure_id, step, result) values ($1, $2, $3)
     on conflict (erasure_id, step) do update set result = excluded.result, done_at = now()`,
    [erasureId, step.step, JSON.stringify(result)],
  );
}

export async function finishErasure(sql: Sql, erasureId: string): Promise<void> {
  await sql.query('update erasures set done_at = now() where erasure_id = $1', [erasureId]);
}

const FIELDS = `e.erasure_id, e.task, e.author, e.reason, e.source, e.requested_at, e.done_at,
  (select count(*)::int from forgotten f where f.erasure_id = e.erasure_id) as inputs`;

export async function erasure(sql: Sql, erasureId: string): Promise<Erasure | undefined> {
  const [row] = await sql.query<ErasureRow>(`select ${FIELDS} from erasures e where erasure_id = $1`, [erasureId]);
  return row && erasureOf(sql, row);
}

/**
 * The newest first.
 * @param task all where empty
 * @param open only those that are not done
 */
export async function erasures(sql: Sql, task: string, open: boolean): Promise<Erasure[]> {
  const rows = await sql.query<ErasureRow>(
    `select ${FIELDS} from erasures e where ($1 = '' or task = $1) and (done_at is null or not $2)
     order by requested_at desc limit ${MAX_LISTED_ERASURES}`,
    [task, open],
  );
  return Promise.all(rows.map((row) => erasureOf(sql, row)));
}

async function erasureOf(sql: Sql, row: ErasureRow): Promise<Erasure> {
  const steps = await sql.query<{ step: string; result: string }>(
    'select step, result from erasure_steps where erasure_id = $1 order by done_at, step',
    [row.erasure_id],
  );
  return create(ErasureSchema, {
    erasureId: row.erasure_id,
    task: row.task,
    author: row.author,
    reason: row.reason,
    source: row.source ?? '',
    inputs: row.inputs,
    requestedAt: timestampFromDate(row.requested_at),
    ...(row.done_at ? { doneAt: timestampFromDate(row.done_at) } : {}),
    steps: steps.map(stepOf),
  });
}

function stepOf({ step, result }: { step: string; result: string }): ErasureStep {
  const { erased, students } = Result.parse(JSON.parse(result));
  const counts = Object.fromEntries(Object.entries(erased).map(([kind, count]) => [kind, BigInt(count)]));
  return create(ErasureStepSchema, { step, erased: counts, students });
}
