/**
 * Tokens per minute, over all replicas, as part of a rate: what was handed out in the last minute, by slices of time. A call
 * takes the most that it can use before it begins; what it turns out not to have used goes back to the slice that it
 * came from. A bucket that leaks could not take anything back safely: it may have leaked already.
 */
import { z } from 'zod';
import { STARTS_VALID_MS } from './limits.ts';

const sliceMs = 2_000;
/** A slice counts until the last call that it was handed out for is certainly a minute old. */
const windowMs = 60_000 + STARTS_VALID_MS + sliceMs;
/** A tenth of a minute's tokens may be handed out within a tenth of a minute: servers count over shorter times than they say. */
const paceShare = 1 / 10;
const paceMs = 6_000;

export const tokenWindowSchema = z.array(z.strictObject({ slice: z.int(), tokens: z.int().min(0) })).default([]);

/** Tokens by the slice of the rate's clock in which they were handed out; oldest first. */
export type TokenWindow = z.infer<typeof tokenWindowSchema>;

export interface TokenRequest {
  /** What waits, and would be used at once. */
  wants: number;
  /** Less than this is of no use: what the next call needs. */
  least: number;
  /** What came of tokens that were handed out before: so many fewer were used (more, where negative). */
  back: readonly TokenGrant[];
}

export interface TokenGrant {
  slice: number;
  tokens: number;
}

export const NO_TOKENS: TokenGrant = { slice: 0, tokens: 0 };

/** Takes back what was not used, and hands out what is wanted as far as the limit allows. */
export const grantTokens = (
  before: TokenWindow,
  tokensPerMinute: number | undefined,
  nowMs: number,
  { wants, least, back }: TokenRequest,
): { window: TokenWindow; grant: TokenGrant } => {
  if (tokensPerMinute === undefined) return { window: [], grant: NO_TOKENS };
  const window = before.filter(({ slice }) => slice * sliceMs + windowMs > nowMs).map((each) => ({ ...each }));
  for (const { slice, tokens } of back) {
    const known = window.find((each) => each.slice === slice);
    if (known) known.tokens = Math.max(0, known.tokens - tokens);
  }
  const free = tokensPerMinute - sumSince(window, nowMs - windowMs);
  const paced = Math.max(tokensPerMinute * paceShare, least) - sumSince(window, nowMs - paceMs);
  const tokens = Math.floor(Math.min(wants, free, paced));
  if (tokens < least || tokens <= 0) return { window, grant: NO_TOKENS };
  const slice = Math.floor(nowMs / sliceMs);
  const last = window.find((each) => each.slice === slice);
  if (last) last.tokens += tokens;
  else window.push({ slice, tokens });
  return { window, grant: { slice, tokens } };
};

const sumSince = (window: TokenWindow, sinceMs: number): number =>
  window.reduce((sum, { slice, tokens }) => (slice * sliceMs > sinceMs ? sum + tokens : sum), 0);
