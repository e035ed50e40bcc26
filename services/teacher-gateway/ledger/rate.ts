/**
 * Decisions about how many calls to one task's teacher may be in flight, and how many calls and tokens may begin per
 * minute, over all replicas, free of I/O. The rate is one value that is changed by compare-and-set. Each replica holds
 * some of the places in flight, a fair share where they are scarce, and keeps them by renewing; permissions to begin a
 * call, and the tokens that it may use at most, are handed out a few at a time.
 *
 * Time here is `clockMs`, a clock that is part of the value: whoever changes the value advances it by what has passed, on
 * its own monotonic clock, since it first saw the value before (see `Sightings`). So it never runs faster than real time,
 * whatever the wall clocks of replicas and server do, and a place is never given away while its holder may still use it.
 */
import { z } from 'zod';
import { STARTS_VALID_MS } from './limits.ts';
import { grantTokens, NO_TOKENS, type TokenGrant, type TokenRequest, tokenWindowSchema } from './token-window.ts';

const holding = z.strictObject({
  seq: z.int().min(1),
  slots: z.int().min(0),
  wants: z.int().min(0),
  /** Permissions to begin a call that were handed out with this request. */
  starts: z.int().min(0),
  /** Tokens that were handed out with this request, and where they are counted. */
  tokens: z.strictObject({ slice: z.int(), tokens: z.int().min(0) }).default(NO_TOKENS),
  expiresAtMs: z.number(),
});

const rateSchema = z.strictObject({
  /** One more with each change. */
  turn: z.int().min(0),
  clockMs: z.number(),
  holdings: z.record(z.string(), holding),
  /** When the next call would begin if all began evenly spaced (generic cell rate algorithm, ITU-T I.371). */
  nextStartMs: z.number(),
  tokens: tokenWindowSchema,
});
export type Rate = z.infer<typeof rateSchema>;

export const parseRate = (text: string | undefined): Rate =>
  text === undefined
    ? { turn: 0, clockMs: 0, holdings: {}, nextStartMs: 0, tokens: [] }
    : rateSchema.parse(JSON.parse(text), { error: () => 'the ledger is damaged: expected a rate as JSON' });

export interface RateLimits {
  /** Calls in flight at once. */
  concurrency: number;
  /** Calls that may begin within any 60 s; unlimited where absent. */
  requestsPerMinute?: number | undefined;
  /** Tokens that calls may use within any 60 s, counted when they begin; unlimited where absent. */
  tokensPerMinute?: number | undefined;
}

export interface RateRequest {
  replica: string;
  /** One more with each request of the replica: a repeated write is recognised by it. */
  seq: number;
  /** Whether the replica believes to hold places. */
  holding: boolean;
  /** Places that stay with the replica whatever is decided: at least its calls in flight. */
  keep: number;
  /** Places that it could use. */
  wants: number;
  /** Permissions to begin a call that it could use at once; none are needed where requests per minute are not limited. */
  starts: number;
  /** Tokens that it could use at once, and those that it got and did not use. */
  tokens: TokenRequest;
  /** How long its places stay taken if it does not renew. */
  livesMs: number;
}

export interface RateGrant {
  rate: Rate;
  slots: number;
  starts: number;
  tokens: TokenGrant;
  /** Its places had been given away. */
  lost: boolean;
  /** Nothing to write: this very request was written already. */
  done: boolean;
}

/** Gives a replica its share of the places, and permissions to begin as far as the rate allows. */
export const renewHolding = (before: Rate, limits: RateLimits, nowMs: number, request: RateRequest): RateGrant => {
  const own = before.holdings[request.replica];
  if (own?.seq === request.seq) {
    return { rate: before, slots: own.slots, starts: own.starts, tokens: own.tokens, lost: false, done: true };
  }
  const lost = request.holding && own === undefined;
  const others = Object.fromEntries(
    Object.entries(before.holdings).filter(
      ([name, { expiresAtMs }]) => name !== request.replica && expiresAtMs > nowMs,
    ),
  );
  const taken = Object.values(others).reduce((sum, { slots }) => sum + slots, 0);
  const keep = lost ? 0 : request.keep;
  const share = shareOf(limits.concurrency, others, request, nowMs);
  const slots = Math.max(keep, Math.min(share, limits.concurrency - taken), 0);
  const { starts, nextStartMs } = beginnings(before, limits.requestsPerMinute, nowMs, request.starts);
  // This very request may have been written before, by a holder that heard nothing of it until its time was over: what it
  // gives back must not come back twice.
  const told = own === undefined ? { ...request.tokens, back: [] } : request.tokens;
  const { window, grant: tokens } = grantTokens(before.tokens, limits.tokensPerMinute, nowMs, told);
  const { replica, seq, wants, livesMs } = request;
  const holdings =
    slots === 0 && wants === 0
      ? others
      : { ...others, [replica]: { seq, slots, wants, starts, tokens, expiresAtMs: nowMs + livesMs } };
  const rate: Rate = {
    turn: before.turn + 1,
    clockMs: Math.max(nowMs, before.clockMs),
    holdings,
    nextStartMs,
    tokens: window,
  };
  return { rate, slots, starts, tokens, lost, done: false };
};

/** Where there are fewer places than replicas, those that get one change this often. */
const rotateMs = 2_000;

/**
 * Max-min fair share of the places: nobody gets more than it wants, and nobody gets less than another who wants as much,
 * but for the remainder.
 */
const shareOf = (concurrency: number, others: Rate['holdings'], request: RateRequest, nowMs: number): number => {
  const wanting = [
    ...Object.entries(others).map(([name, { wants }]) => ({ name, wants })),
    { name: request.replica, wants: request.wants },
  ]
    .filter(({ wants }) => wants > 0)
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const turn = concurrency < wanting.length ? Math.floor(nowMs / rotateMs) % wanting.length : 0;
  const inOrder = [...wanting.slice(turn), ...wanting.slice(0, turn)].toSorted((a, b) => a.wants - b.wants);
  let left = concurrency;
  for (const [index, { name, wants }] of inOrder.entries()) {
    const share = Math.min(wants, Math.floor(left / (inOrder.length - index)));
    if (name === request.replica) return share;
    left -= share;
  }
  return 0;
};

const minuteMs = 60_000;
/** Calls that may begin at once after a pause, as a share of a minute's: two seconds' worth. */
const burstShare = 1 / 30;

/**
 * Spacing and burst with which no 60 s see more than `requestsPerMinute` beginnings, although each may come up to
 * STARTS_VALID_MS after its permission: within a window of w ms at most burst + w / spacing permissions are handed out.
 */
export const spacingOf = (requestsPerMinute: number): { spacingMs: number; burst: number } => {
  const burst = Math.max(1, Math.floor(requestsPerMinute * burstShare));
  return { spacingMs: (minuteMs + STARTS_VALID_MS + 1) / (requestsPerMinute - burst + 1), burst };
};

const beginnings = (rate: Rate, requestsPerMinute: number | undefined, nowMs: number, wanted: number) => {
  if (requestsPerMinute === undefined) return { starts: 0, nextStartMs: rate.nextStartMs };
  const { spacingMs, burst } = spacingOf(requestsPerMinute);
  const from = Math.max(rate.nextStartMs, nowMs);
  const allowed = Math.floor((nowMs + burst * spacingMs - from) / spacingMs);
  const starts = Math.max(0, Math.min(wanted, allowed));
  return { starts, nextStartMs: starts > 0 ? from + starts * spacingMs : rate.nextStartMs };
};

/** How long until a call may begin. */
export const startsInMs = (rate: Rate, requestsPerMinute: number | undefined, nowMs: number): number => {
  if (requestsPerMinute === undefined) return 0;
  const { spacingMs, burst } = spacingOf(requestsPerMinute);
  return Math.max(0, rate.nextStartMs - nowMs - (burst - 1) * spacingMs);
};
