/** The one statement that records a batch, and the rows it is given. Column names are the tables'; ids travel as hex. */
import { type Pair, Split, type Usage } from '@understudy/contract';
import type { Placement } from '../grouping/group-index.ts';
import type { Answer, Decline } from './record.ts';
import { softJson } from './stored-pair.ts';

type Columns = Readonly<Record<string, 'id' | 'text' | 'smallint' | 'int' | 'bigint' | 'boolean'>>;

const COST = { spent_micro_usd: 'bigint', calls: 'int', duration_us: 'bigint' } as const;

const PROMPT = {
  prompt_id: 'id',
  group_id: 'id',
  split: 'smallint',
  weight: 'int',
  input_json: 'text',
  reference_json: 'text',
  first_pair: 'id',
} as const satisfies Columns;

const PAIR = {
  pair_id: 'id',
  prompt_id: 'id',
  fingerprint: 'id',
  sample_number: 'int',
  text: 'text',
  answer_json: 'text',
  soft: 'text',
  purpose: 'smallint',
  source: 'smallint',
  origin: 'text',
  input_tokens: 'bigint',
  output_tokens: 'bigint',
  answered_at_us: 'bigint',
  ...COST,
} as const satisfies Columns;

const OUTCOME = {
  run_id: 'text',
  prompt_id: 'id',
  pair_id: 'id',
  split: 'smallint',
  founds_group: 'boolean',
  decline_reason: 'smallint',
  decline_detail: 'text',
  cached: 'boolean',
  ...COST,
} as const satisfies Columns;

type RowOf<C extends Columns> = { -readonly [K in keyof C]?: unknown };

/** Largest number that fits a column `int`; the contract's numbers are unsigned and could be larger. */
const MAX_INT = 2 ** 31 - 1;

export function promptRow(pair: Pair, { groupId, split }: Placement, weight: number): RowOf<typeof PROMPT> {
  return {
    prompt_id: pair.promptId,
    group_id: groupId,
    split,
    weight: Math.min(weight, MAX_INT),
    input_json: pair.inputJson,
    reference_json: pair.referenceJson,
    first_pair: pair.pairId,
  };
}

export function pairRow(pair: Pair): RowOf<typeof PAIR> {
  const { usage, answeredAt } = pair;
  return {
    pair_id: pair.pairId,
    prompt_id: pair.promptId,
    fingerprint: pair.fingerprint,
    sample_number: Math.min(pair.sampleNumber, MAX_INT),
    text: pair.text,
    answer_json: pair.answerJson,
    soft: softJson(pair.soft),
    purpose: pair.purpose,
    source: pair.source,
    origin: pair.origin,
    input_tokens: Number(usage?.inputTokens ?? 0),
    output_tokens: Number(usage?.outputTokens ?? 0),
    answered_at_us: answeredAt ? Number(answeredAt.seconds) * 1e6 + Math.floor(answeredAt.nanos / 1e3) : 0,
    ...costOf(usage),
  };
}

export function answeredRow({ pair, asked }: Answer, { groupId, split }: Placement): RowOf<typeof OUTCOME>[] {
  if (!asked) return [];
  return [
    {
      run_id: asked.runId,
      prompt_id: pair.promptId,
      pair_id: pair.pairId,
      split,
      founds_group: groupId === pair.promptId && split !== Split.QUARANTINED,
      cached: asked.cached,
      ...costOf(asked.cached ? undefined : pair.usage),
    },
  ];
}

export function declinedRow({ runId, promptId, reason, detail, usage }: Decline): RowOf<typeof OUTCOME> {
  return {
    run_id: runId,
    prompt_id: promptId,
    decline_reason: reason,
    decline_detail: detail,
    cached: false,
    ...costOf(usage),
  };
}

function costOf(usage: Usage | undefined): RowOf<typeof COST> {
  return {
    spent_micro_usd: Number(usage?.spentMicroUsd ?? 0),
    calls: Math.min(usage?.calls ?? 0, MAX_INT),
    duration_us: Number(usage?.durationUs ?? 0),
  };
}

const namesOf = (columns: Columns) => Object.keys(columns).join(', ');

/** Selects the rows of a JSON parameter. */
function rowsOf(parameter: string, columns: Columns): string {
  const entries = Object.entries(columns);
  const values = entries.map(([name, type]) => (type === 'id' ? `decode(${name}, 'hex') as ${name}` : name));
  const types = entries.map(([name, type]) => `${name} ${type === 'id' ? 'text' : type}`);
  return `select ${values.join(', ')} from json_to_recordset(${parameter}::json) as r(${types.join(', ')})`;
}

const pairsIn = (split: Split) => `count(*) filter (where split = ${split})`;

/** What a row of `runs` counts, from outcomes that are new. */
const COUNTS = {
  answered: 'count(pair_id)',
  declined: 'count(decline_reason)',
  cached: 'count(*) filter (where cached)',
  spent_micro_usd: 'sum(spent_micro_usd)',
  calls: 'sum(calls)',
  groups: 'count(*) filter (where founds_group)',
  train_pairs: pairsIn(Split.TRAIN),
  dev_pairs: pairsIn(Split.DEV),
  test_pairs: pairsIn(Split.TEST),
  quarantined_pairs: pairsIn(Split.QUARANTINED),
};

/** Of batch `b` and its run `r`: it may be complete by now. */
export const DUE = 'b.waiting > 0 and b.complete_from <= r.answered + r.declined';

/**
 * $1 task, $2 prompts, $3 pairs, $4 outcomes; the last three as JSON. One statement, because a round trip costs as much as a
 * hundred rows. Gives the arrival number of the newest prompt, and whether a closed batch may be complete now.
 */
export const RECORD = `
with new_prompts as (
  insert into prompts (task, ${namesOf(PROMPT)}) select $1, * from (${rowsOf('$2', PROMPT)}) as r
  on conflict (prompt_id) do update set weight = excluded.weight where prompts.weight < excluded.weight
  returning seq
), new_pairs as (
  insert into pairs (task, ${namesOf(PAIR)}) select $1, * from (${rowsOf('$3', PAIR)}) as r
  on conflict do nothing
), new_outcomes as (
  insert into outcomes (${namesOf(OUTCOME)}) ${rowsOf('$4', OUTCOME)}
  on conflict do nothing
  returning *
), counted as (
  insert into runs (run_id, task, ${Object.keys(COUNTS).join(', ')})
  select run_id, $1, ${Object.values(COUNTS).join(', ')} from new_outcomes group by run_id
  on conflict (run_id) do update
  set ${Object.keys(COUNTS)
    .map((column) => `${column} = runs.${column} + excluded.${column}`)
    .join(', ')}
  returning run_id, answered, declined
)
select (select max(seq) from new_prompts) as last_seq,
  exists (select from batches b join counted r using (run_id) where ${DUE}) as batch_due`;
