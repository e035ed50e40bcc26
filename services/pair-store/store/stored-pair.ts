import { create } from '@bufbuild/protobuf';
import {
  type HeadDistribution,
  HeadDistributionSchema,
  type Pair,
  PairSchema,
  type Purpose,
  type Source,
} from '@understudy/contract';

/** A pair with what its prompt holds, as it comes from the tables, or from a snapshot's file. */
export interface StoredPair {
  readonly pair_id: string;
  readonly prompt_id: string;
  readonly fingerprint: string;
  readonly sample_number: number;
  readonly text: string;
  readonly input_json: string;
  readonly answer_json: string;
  /** JSON: the teacher's probabilities by head, `{}` where it gives none. */
  readonly soft: string;
  readonly reference_json: string | null;
  readonly purpose: Purpose;
  readonly source: Source;
  readonly origin: string;
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
  encode(a.fingerprint, 'hex') as fingerprint, a.sample_number, a.text, p.input_json, a.answer_json, a.soft,
  p.reference_json, a.purpose, a.source, a.origin, p.weight, a.input_tokens, a.output_tokens,
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
    soft: softOf(row.soft),
    ...(row.reference_json === null ? {} : { referenceJson: row.reference_json }),
    purpose: row.purpose,
    source: row.source,
    origin: row.origin,
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

/** As `softOf` reads it: an object with the probabilities of each head. */
export function softJson(soft: readonly HeadDistribution[]): string {
  return JSON.stringify(Object.fromEntries(soft.map(({ head, probabilities }) => [head, probabilities.map(shortest)])));
}

function softOf(json: string): HeadDistribution[] {
  const soft = Object.entries(JSON.parse(json) as Record<string, number[]>);
  return soft.map(([head, probabilities]) => create(HeadDistributionSchema, { head, probabilities }));
}

/** The contract's numbers have 32 bits: written with all 64 of a JavaScript number they would take twice the room. */
function shortest(value: number): number {
  const single = Math.fround(value);
  for (let digits = 6; digits < 9; digits += 1) {
    const short = Number(single.toPrecision(digits));
    if (Math.fround(short) === single) return short;
  }
  return Number(single.toPrecision(9));
}
