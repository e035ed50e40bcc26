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
