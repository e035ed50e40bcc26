import { create } from '@bufbuild/protobuf';
import { type Pair, PairSchema, type Purpose, type Source } from '@understudy/contract';

/** A pair with what its prompt holds, as it comes from the tables, or from a snapshot's file. */
export interface StoredPair {
  readonly pair_id: string;
  readonly prompt_id: string;
  readonly fingerprint: string;
  readonly sample_number: number;
  readonly text: string;
  readonly input_json: string;
  readonly answer_json: string;
  readonly label: string;
  /** Of the labels in the schema's order; empty where the teacher gives none. */
  readonly probabilities: readonly number[];
  readonly reference_json: string | null;
  readonly purpose: Purpose;
  readonly source: Source;
  readonly weight: number;
  readonly input_tokens: number | bigint;
  readonly output_tokens: number | bigint;
  readonly spent_micro_usd: number | bigint;
  readonly duration_us: number | bigint;
  readonly calls: number;
  readonly answered_at_us: number | bigint;
}

/** What a query selects for a `StoredPair`, from `pairs a join prompts p`. */
export const STORED_PAIR = `encode(a.pair_id, 'hex') as pair_id, encode(a.prompt_id, 'hex') as prompt_id,
  encode(a.fingerprint, 'hex') as fingerprint, a.sample_number, a.text, p.input_json, a.answer_json, a.label,
  a.probabilities, p.reference_json, a.purpose, a.source, p.weight, a.input_tokens, a.output_tokens,
  a.spent_micro_usd, a.duration_us, a.calls, a.answered_at_us`;

export function pairOf(row: StoredPair): Pair {
  const answeredAtUs = BigInt(row.answered_at_us);
  return create(PairSchema, {
    pairId: row.pair_id,
    promptId: row.prompt_id,
    fingerprint: row.fingerprint,
    sampleNumber: row.sample_number,
    text: row.text,
    inputJson: row.input_json,
    answerJson: row.answer_json,
    label: row.label,
    probabilities: [...row.probabilities],
    ...(row.reference_json === null ? {} : { referenceJson: row.reference_json }),
    purpose: row.purpose,
    source: row.source,
    weight: row.weight,
    usage: {
      inputTokens: BigInt(row.input_tokens),
      outputTokens: BigInt(row.output_tokens),
      spentMicroUsd: BigInt(row.spent_micro_usd),
      durationUs: BigInt(row.duration_us),
      calls: row.calls,
    },
    answeredAt: { seconds: answeredAtUs / 1_000_000n, nanos: Number(answeredAtUs % 1_000_000n) * 1_000 },
  });
}
