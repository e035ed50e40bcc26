/**
 * Decisions about whether a teacher may be asked at all, over all replicas, free of I/O: a pause that it asked for
 * (Retry-After), and a circuit breaker (Nygard, "Release It!", 2007) that opens when it fails call after call or refuses
 * our credentials. The health is one value that is changed by compare-and-set and watched by all replicas. Times are of
 * the value's own clock, as with a rate (`rate.ts`).
 */
import { z } from 'zod';
import type { TeacherFailure } from '../teachers/teacher.ts';

const healthSchema = z.strictObject({
  /** One more with each change. */
  turn: z.int().min(0),
  clockMs: z.number(),
  /** Whose, for people. */
  teacher: z.string(),
  /** Nobody asks before this. */
  pausedUntilMs: z.number(),
  breaker: z
    .strictObject({
      openedAtMs: z.number(),
      /** When one call may try whether it answers again. */
      retryAtMs: z.number(),
      /** Tries since it opened, all in vain. */
      failedProbes: z.int().min(0),
      failure: z.string(),
      detail: z.string(),
      /** Who tries just now, and until when nobody else does. */
      probe: z.strictObject({ replica: z.string(), untilMs: z.number() }).optional(),
    })
    .optional(),
});
export type Health = z.infer<typeof healthSchema>;

/** Anything but a health counts as none: a damaged value must not keep a teacher from being asked. */
export const parseHealth = (text: string | undefined): Health => {
  const none: Health = { turn: 0, clockMs: 0, teacher: '', pausedUntilMs: 0 };
  if (text === undefined) return none;
  try {
    return healthSchema.parse(JSON.parse(text));
  } catch {
    return none;
  }
};

/** Failures one after another, of all that a replica calls, after which the teacher counts as gone. */
export const CONSECUTIVE_FAILURES = 10;
/** How long an open breaker waits before a try, doubled with each in vain. Refused credentials need a person. */
const firstOpenMs = 1_000;
const firstUnauthorizedMs = 10_000;
const maxOpenMs = 60_000;
/** A pause or period is no longer than this, whatever a teacher asks for: a person may have mended it meanwhile. */
const maxPauseMs = 3_600_000;
/** Of what a teacher said when it failed. */
const maxDetailCharacters = 300;

export interface Trouble {
  failure: TeacherFailure;
  detail: string;
  retryAfterMs: number | undefined;
}

/** Failures that say something about the teacher, not about one prompt or about us. */
const telling: ReadonlySet<TeacherFailure> = new Set([
  'unreachable',
  'timeout',
  'rate-limited',
  'overloaded',
  'unauthorized',
  'malformed',
]);
export const isTelling = (failure: TeacherFailure): boolean => telling.has(failure);

/** Why a teacher is not to be asked now. */
export interface Blockage {
  /** The breaker is open: it fails, or refuses us. */
  open: boolean;
  /** Until the next look is worth it. */
  waitMs: number;
  /** How long it has been away; 0 while it only asked for a pause. */
  awayMs: number;
  failure: TeacherFailure;
  detail: string;
}

/** Undefined when it may be asked; `waitMs` is 0 when one call may try. */
export const blockageOf = (health: Health, nowMs: number): Blockage | undefined => {
  const { breaker, pausedUntilMs } = health;
  const pauseMs = Math.max(0, pausedUntilMs - nowMs);
  if (breaker) {
    const probedMs = breaker.probe ? Math.max(0, breaker.probe.untilMs - nowMs) : 0;
    return {
      open: true,
      waitMs: Math.max(pauseMs, probedMs, breaker.retryAtMs - nowMs),
      awayMs: nowMs - breaker.openedAtMs,
      failure: breaker.failure as TeacherFailure,
      detail: breaker.detail,
    };
  }
  if (pauseMs === 0) return undefined;
  const detail = `it asked to be left alone for another ${Math.ceil(pauseMs / 1_000)} s`;
  return { open: false, waitMs: pauseMs, awayMs: 0, failure: 'rate-limited', detail };
};

const changed = (health: Health, nowMs: number, change: Partial<Health>): Health => ({
  ...health,
  turn: health.turn + 1,
  clockMs: Math.max(nowMs, health.clockMs),
  ...change,
});

const pausedUntil = (health: Health, nowMs: number, retryAfterMs = 0): number =>
  Math.max(health.pausedUntilMs, retryAfterMs > 0 ? nowMs + Math.min(retryAfterMs, maxPauseMs) : 0);

/** The teacher asked to be left alone; undefined when that is known. */
export const paused = (health: Health, nowMs: number, retryAfterMs: number): Health | undefined => {
  const pausedUntilMs = pausedUntil(health, nowMs, retryAfterMs);
  return pausedUntilMs === health.pausedUntilMs ? undefined : changed(health, nowMs, { pausedUntilMs });
};

/** The teacher failed too often, or refused us; undefined when the breaker is open already. */
export const opened = (health: Health, nowMs: number, trouble: Trouble): Health | undefined => {
  if (health.breaker) return undefined;
  return changed(health, nowMs, {
    pausedUntilMs: pausedUntil(health, nowMs, trouble.retryAfterMs),
    breaker: { openedAtMs: nowMs, failedProbes: 0, ...nextTry(nowMs, 0, trouble) },
  });
};

const nextTry = (nowMs: number, failedProbes: number, { failure, detail }: Trouble) => {
  const first = failure === 'unauthorized' ? firstUnauthorizedMs : firstOpenMs;
  const waitMs = Math.min(maxOpenMs, first * 2 ** Math.min(failedProbes, 16));
  return { retryAtMs: nowMs + waitMs, failure, detail: detail.slice(0, maxDetailCharacters) };
};

/** Lets this replica try; undefined when it may not, or need not. */
export const probed = (health: Health, nowMs: number, replica: string, livesMs: number): Health | undefined => {
  if (!health.breaker || (blockageOf(health, nowMs)?.waitMs ?? 0) > 0) return undefined;
  const breaker = { ...health.breaker, probe: { replica, untilMs: nowMs + livesMs } };
  return changed(health, nowMs, { breaker });
};

/** Whether this replica is the one that tries. */
const isProbing = ({ breaker }: Health, replica: string): boolean => breaker?.probe?.replica === replica;

/** The try failed: the breaker stays open, for longer. Undefined when it is another's turn by now. */
export const probeFailed = (health: Health, nowMs: number, replica: string, trouble: Trouble): Health | undefined => {
  const { breaker } = health;
  if (!breaker || !isProbing(health, replica)) return undefined;
  const failedProbes = breaker.failedProbes + 1;
  return changed(health, nowMs, {
    pausedUntilMs: pausedUntil(health, nowMs, trouble.retryAfterMs),
    breaker: { openedAtMs: breaker.openedAtMs, failedProbes, ...nextTry(nowMs, failedProbes, trouble) },
  });
};

/** The try was not made, or said nothing about the teacher: another may. */
export const probeDropped = (health: Health, nowMs: number, replica: string): Health | undefined => {
  if (!health.breaker || !isProbing(health, replica)) return undefined;
  const { probe: _, ...breaker } = health.breaker;
  return changed(health, nowMs, { breaker });
};

/** The teacher answered a try. Undefined when the breaker is closed. */
export const recovered = (health: Health, nowMs: number): Health | undefined =>
  health.breaker && changed(health, nowMs, { pausedUntilMs: 0, breaker: undefined });
