/** Puts what the teacher said into the database: every pair once, one outcome per prompt of a run, a split for each prompt. */
import { type DeclineReason, type Pair, Purpose, Source, type Usage } from '@understudy/contract';
import type { Ratios } from '@understudy/task/grouping/split';
import { declineOfForgotten, FORGOTTEN_DETAIL, forgottenAmong } from '../erasure/forgotten.ts';
import type { GroupIndex, Placement } from '../grouping/group-index.ts';
import type { Groups } from '../grouping/groups.ts';
import type { KnownTask } from '../tasks.ts';
import type { Database, Sql } from './database.ts';
import { answeredRow, declinedRow, pairRow, promptRow, RECORD } from './record-sql.ts';

export interface Answer {
  readonly pair: Pair;
  /** The run that asked, and whether the answer had been paid for earlier; absent for live traffic. */
  readonly asked?: { readonly runId: string; readonly cached: boolean };
}

/** What a pair of the random sample was made for, where it may be held out. */
const MAY_JUDGE: ReadonlySet<Purpose> = new Set([Purpose.LABEL, Purpose.IMPORTED]);

export interface Decline {
  readonly runId: string;
  readonly promptId: string;
  readonly reason: DeclineReason;
  readonly detail: string;
  readonly usage: Usage | undefined;
}

/** What recording came to. */
export interface Recorded {
  /** A closed batch may have become complete. */
  readonly mayBeComplete: boolean;
  /** Answers that were not kept, because their run had been told before that there is none. */
  readonly late: number;
  /** Ids of prompts that were told of, and are forgotten. */
  readonly forgotten: ReadonlySet<string>;
}

/**
 * Records answers and declines of one task in one transaction. What is recorded already changes nothing: the first outcome
 * of a prompt in a run stays, whatever comes later, and the answer of a prompt that was declined in its run is not kept.
 * Forgotten inputs are never kept: a run that asked for one has a decline instead of its answer.
 * @param answers none of a prompt that `declines` speaks of in the same run
 */
export async function record(
  database: Database,
  groups: Groups,
  known: KnownTask,
  answers: readonly Answer[],
  declines: readonly Decline[],
): Promise<Recorded> {
  const { name } = known.task;
  const recordIn = async (sql: Sql) => {
    await lockTask(sql, name);
    const index = await groups.upToDate(sql, name);
    const ids = [...answers.map(({ pair }) => pair.promptId), ...declines.map(({ promptId }) => promptId)];
    const forgotten = await forgottenAmong(sql, new Set(ids));
    const kept = forgotten.size === 0 ? { answers, declines } : without(forgotten, answers, declines);
    const timely = await withoutDeclined(sql, kept.answers);
    const rows = rowsToRecord(index, known, timely, kept.declines);
    const parameters = [name, ...rows.map((value) => JSON.stringify(value))];
    const [done] = await sql.query<{ last_seq: number | null; batch_due: boolean }>(RECORD, parameters);
    index.lastSeq = Math.max(index.lastSeq, done?.last_seq ?? 0);
    return { mayBeComplete: done?.batch_due ?? false, late: kept.answers.length - timely.length, forgotten };
  };
  return groups.oneAtATime(name, () => database.transaction(recordIn));
}

/** Whether an answer is the outcome of a call that a run waited for, and not one that was there anyway. */
const isBought = ({ asked }: Answer): boolean => asked !== undefined && !asked.cached;

/** Answers but those that were bought for a prompt which is declined in their run. */
async function withoutDeclined(sql: Sql, answers: readonly Answer[]): Promise<readonly Answer[]> {
  const bought = answers.filter(isBought);
  if (bought.length === 0) return answers;
  const declined = await sql.query<{ run_id: string; prompt_id: string }>(
    `select o.run_id, encode(o.prompt_id, 'hex') as prompt_id from runs r join outcomes o using (run_id)
     where r.run_id = any ($1::text[]) and r.declined > 0 and o.prompt_id = any ($2::bytea[]) and o.decline_reason is not null`,
    [
      [...new Set(bought.map(({ asked }) => asked?.runId ?? ''))],
      bought.map(({ pair }) => Buffer.from(pair.promptId, 'hex')),
    ],
  );
  if (declined.length === 0) return answers;
  const refused = new Set(declined.map(({ run_id, prompt_id }) => `${run_id} ${prompt_id}`));
  return answers.filter((one) => !(isBought(one) && refused.has(`${one.asked?.runId} ${one.pair.promptId}`)));
}

/**
 * Lets one transaction at a time decide about a task: groups, outcomes and completeness depend on all rows before.
 * Ends with the transaction.
 */
export async function lockTask(sql: Sql, task: string): Promise<void> {
  await sql.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [`understudy task ${task}`]);
}

function without(
  forgotten: ReadonlySet<string>,
  answers: readonly Answer[],
  declines: readonly Decline[],
): { answers: Answer[]; declines: Decline[] } {
  const late = answers.flatMap(({ pair, asked }) =>
    asked && forgotten.has(pair.promptId) ? [declineOfForgotten(asked.runId, pair.promptId)] : [],
  );
  // Why a teacher declined may quote what it was asked.
  const told = declines.map((one) => (forgotten.has(one.promptId) ? { ...one, detail: FORGOTTEN_DETAIL } : one));
  return { answers: answers.filter(({ pair }) => !forgotten.has(pair.promptId)), declines: [...told, ...late] };
}

/** Rows for prompts, pairs and outcomes. New prompts are placed on the way. */
function rowsToRecord(
  index: GroupIndex,
  { task, exampleTexts }: KnownTask,
  answers: readonly Answer[],
  declines: readonly Decline[],
): object[][] {
  index.excludeExamples(exampleTexts);
  const prompts = new Map<string, ReturnType<typeof promptRow>>();
  const outcomes = declines.map(declinedRow);
  const weights = largestWeights(answers);
  for (const answer of answers) {
    const { pair } = answer;
    const known = index.find(pair.promptId);
    const placement = known ?? place(index, pair, task.splits);
    const weight = weights.get(pair.promptId) ?? 1;
    // A prompt that is known has its row, unless its weight may have grown.
    if (!prompts.has(pair.promptId) && (!known || weight > 1)) {
      prompts.set(pair.promptId, promptRow(pair, placement, weight));
    }
    outcomes.push(...answeredRow(answer, placement));
  }
  return [[...prompts.values()], answers.map(({ pair }) => pairRow(pair)), outcomes];
}

function place(index: GroupIndex, { promptId, text, purpose, source }: Pair, ratios: Ratios): Placement {
  const mayBeHeldOut = MAY_JUDGE.has(purpose) && source === Source.RANDOM;
  return index.place({ promptId, text, mayBeHeldOut }, ratios);
}

function largestWeights(answers: readonly Answer[]): Map<string, number> {
  const weights = new Map<string, number>();
  for (const { pair } of answers) {
    if (pair.weight > (weights.get(pair.promptId) ?? 1)) weights.set(pair.promptId, pair.weight);
  }
  return weights;
}
