import type { CostBound, TeacherFailure } from './teacher.ts';

/** USD per million tokens, as providers list it. */
export interface Pricing {
  readonly inputUsdPerMillionTokens: number;
  readonly outputUsdPerMillionTokens: number;
}

/** What tokens cost; 0 where the task gives no prices. */
export const spentUsd = (
  pricing: Pricing | undefined,
  tokens: { inputTokens: number; outputTokens: number },
): number => {
  if (!pricing) return 0;
  const { inputUsdPerMillionTokens: input, outputUsdPerMillionTokens: output } = pricing;
  return (tokens.inputTokens * input + tokens.outputTokens * output) / 1_000_000;
};

/** Of a failure after which nobody knows what was charged: the most that it can be. */
export const maybePaid = ({ usd }: CostBound): { spentUsd: number; unsettled: true } => ({
  spentUsd: usd,
  unsettled: true,
});

/** What a status says about a call, by HTTP's meaning, which models on the bus use too. Below 400 it is no error's. */
export const failureOf = (status: number): TeacherFailure => {
  if (status === 401 || status === 403) return 'unauthorized';
  if (status === 408) return 'timeout';
  if (status === 429) return 'rate-limited';
  return status >= 500 || status < 400 ? 'overloaded' : 'rejected';
};

/**
 * Whether a refusal may have been charged: what stands in front of a model can fail, or lose patience, after the model
 * did its work. 503 and whatever blames the request say that no work was done.
 */
export const mayBePaid = (status: number): boolean =>
  status < 400 || status === 408 || (status >= 500 && status !== 503);
