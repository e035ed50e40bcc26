/** What people decided about inputs: kept for good, each once, the newest of an input holds. */
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type Decision, DecisionSchema } from '@understudy/contract/pair-store';
import { sha256Hex } from '@understudy/task';
import type { Database, Sql } from './database.ts';
import { lockTask } from './record.ts';

/** A decision that is to be made. */
export interface Verdict {
  readonly task: string;
  readonly promptId: string;
  readonly pairId: string;
  /** Canonical; null: the input belongs to no snapshot. */
  readonly answerJson: string | null;
  readonly author: string;
  readonly reason: string;
  /** The decision that this one takes the place of; empty for the first. */
  readonly replaces: string;
}

interface DecisionRow {
  readonly decision_id: string;
  readonly prompt_id: string;
  readonly pair_id: string;
  readonly answer_json: string | null;
  readonly author: string;
  readonly reason: string;
  readonly replaces: string | null;
  readonly at_ms: number;
}

const DECISION = `encode(decision_id, 'hex') as decision_id, encode(prompt_id, 'hex') as prompt_id,
  encode(pair_id, 'hex') as pair_id, answer_json, author, reason, encode(replaces, 'hex') as replaces,
  (extract(epoch from decided_at) * 1000)::bigint as at_ms`;

/** The decisions that hold up to a number, one an input: joined by `prompt_id`. */
export const holding = (task: string, lastDecision: string): string =>
  `(select distinct on (prompt_id) prompt_id, decision_id, answer_json as settled_answer from decisions
    where task = ${task} and seq <= ${lastDecision} order by prompt_id, seq desc)`;

/** Somebody decided about the same input meanwhile. */
export class DecisionConflict extends Error {
  override readonly name = 'DecisionConflict';
}

/**
 * Makes a decision, or finds that it was made: a repetition, however late, changes nothing.
 * @throws DecisionConflict when the newest decision about the input is not the one that this replaces
 */
export async function decide(database: Database, verdict: Verdict): Promise<Decision> {
  const { task, promptId, pairId, answerJson, author, reason, replaces } = verdict;
  const id = sha256Hex(JSON.stringify([task, promptId, answerJson, author, reason, replaces]));
  return database.transaction(async (sql) => {
    await lockTask(sql, task);
    const [made] = await sql.query<DecisionRow>(
      `select ${DECISION} from decisions where decision_id = decode($1, 'hex')`,
      [id],
    );
    if (made) return decisionOf(made);
    const newest = await newestDecision(sql, task, promptId);
    if ((newest?.decisionId ?? '') !== replaces) throw new DecisionConflict(conflictOf(newest, replaces));
    const [row] = await sql.query<DecisionRow>(
      `insert into decisions (decision_id, task, prompt_id, pair_id, answer_json, author, reason, replaces)
       values (decode($1, 'hex'), $2, decode($3, 'hex'), decode($4, 'hex'), $5, $6, $7, decode($8, 'hex'))
       returning ${DECISION}`,
      [id, task, promptId, pairId, answerJson, author, reason, replaces || null],
    );
    return decisionOf(row!);
  });
}

const conflictOf = (newest: Decision | undefined, replaces: string): string =>
  newest
    ? `${newest.author} settled it (${newest.reason}): look at that, and say that yours replaces ${newest.decisionId}`
    : `nothing was decided about it, so there is no ${replaces} to replace`;

async function newestDecision(sql: Sql, task: string, promptId: string): Promise<Decision | undefined> {
  const [row] = await sql.query<DecisionRow>(
    `select ${DECISION} from decisions where task = $1 and prompt_id = decode($2, 'hex') order by seq desc limit 1`,
    [task, promptId],
  );
  return row && decisionOf(row);
}

/** All of a task, the newest first. */
export async function decisionsOf(sql: Sql, task: string): Promise<Decision[]> {
  const rows = await sql.query<DecisionRow>(`select ${DECISION} from decisions where task = $1 order by seq desc`, [
    task,
  ]);
  return rows.map(decisionOf);
}

const decisionOf = (row: DecisionRow): Decision =>
  create(DecisionSchema, {
    decisionId: row.decision_id,
    promptId: row.prompt_id,
    pairId: row.pair_id,
    ...(row.answer_json === null ? {} : { answerJson: row.answer_json }),
    author: row.author,
    reason: row.reason,
    at: timestampFromMs(Number(row.at_ms)),
    replaces: row.replaces ?? '',
  });
