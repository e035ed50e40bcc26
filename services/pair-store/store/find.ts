import { create } from '@bufbuild/protobuf';
import { type Pair, PairSchema } from '@understudy/contract';
import type { Sql } from './database.ts';

interface StoredPair {
  pair_id: string;
  prompt_id: string;
  fingerprint: string;
  sample_number: number;
  text: string;
  input_json: string;
  answer_json: string;
  label: string;
  probabilities: number[];
  purpose: number;
  source: number;
  weight: number;
  reference_json: string | null;
  input_tokens: number;
  output_tokens: number;
  spent_micro_usd: number;
  duration_us: number;
  calls: number;
  answered_at_us: number;
}

/** Those of a task's pairs that are stored, in no particular order. */
export async function findPairs(sql: Sql, task: string, pairIds: readonly string[]): Promise<Pair[]> {
  // The task is compared here: as a condition of the query it tempts the planner into reading all of the task's pairs.
  const rows = await sql.query<StoredPair & { task: string }>(
    `select a.task, encode(a.pair_id, 'hex') as pair_id, encode(a.prompt_id, 'hex') as prompt_id,
       encode(a.fingerprint, 'hex') as fingerprint, a.sample_number, a.text, p.input_json, a.answer_json, a.label,
       a.probabilities, a.purpose, a.source, p.weight, p.reference_json, a.input_tokens, a.output_tokens,
       a.spent_micro_usd, a.duration_us, a.calls, a.answered_at_us
     from pairs a join prompts p using (prompt_id) where a.pair_id = any ($1::bytea[])`,
    [pairIds.map((id) => Buffer.from(id, 'hex'))],
  );
  return rows.filter((row) => row.task === task).map(pairOf);
}

function pairOf(row: StoredPair): Pair {
  return create(PairSchema, {
    pairId: row.pair_id,
    promptId: row.prompt_id,
    fingerprint: row.fingerprint,
    sampleNumber: row.sample_number,
    text: row.text,
    inputJson: row.input_json,
    answerJson: row.answer_json,
    label: row.label,
    probabilities: row.probabilities,
    purpose: row.purpose,
    source: row.source,
    weight: row.weight,
    ...(row.reference_json === null ? {} : { referenceJson: row.reference_json }),
    usage: {
      inputTokens: BigInt(row.input_tokens),
      outputTokens: BigInt(row.output_tokens),
      spentMicroUsd: BigInt(row.spent_micro_usd),
      durationUs: BigInt(row.duration_us),
      calls: row.calls,
    },
    answeredAt: {
      seconds: BigInt(Math.floor(row.answered_at_us / 1e6)),
      nanos: (row.answered_at_us % 1e6) * 1e3,
    },
  });
}
