import type { KV } from '@nats-io/kv';
import { readKey } from '@understudy/service/bus/compare-and-set';
import { messageOf } from '@understudy/service/errors';
import type { Logger } from '@understudy/service/telemetry';
import { parseBatches, totalsOfBatches } from './batches.ts';
import { isNothing, parseBudget } from './budget.ts';

/** Budgets are kept for so long after their last change: what a run has spent can be looked up for a month. */
const KEEP_MS = 30 * 24 * 3_600_000;
/**
 * And no budget is forgotten that changed while this process watched it for so long: neither a clock that jumps, nor prompts that
 * waited on the bus for a month, must give a run its money a second time.
 */
const OBSERVE_MS = 6 * 3_600_000;
const SWEEP_MS = 3_600_000;
/** Its revision's time is the server's time. */
const CLOCK_KEY = 'swept';

/** What is known of a budget that has not changed for long. */
interface Sighting {
  revision: number;
  sinceMs: number;
}

interface Kept {
  key: string;
  revision: number;
  /** Somebody may spend of it, or has to be held against it. */
  reserved: boolean;
  /** Since its last change, by the server's clock. */
  ageMs: number;
}

/** Whether a budget may be forgotten: old, nothing reserved, and unchanged for as long as it has to be watched. */
export const isForgettable = (
  { revision, reserved, ageMs }: Kept,
  sighting: Sighting | undefined,
  nowMs: number,
  { keepMs, observeMs }: { keepMs: number; observeMs: number },
): boolean => ageMs >= keepMs && !reserved && sighting?.revision === revision && nowMs - sighting.sinceMs >= observeMs;

const hasLeases = (text: string): boolean => Object.keys(parseBudget(text).leases).length > 0;

/** A batch is paid from the budget of a run: it is kept until it is over, has one, and that is forgotten. */
const counts = async (bucket: KV, text: string): Promise<boolean> => {
  const batches = parseBatches(text);
  if (!isNothing(totalsOfBatches(batches).reserved)) return true;
  for (const { payer } of Object.values(batches)) {
    if (payer === undefined || (await readKey(bucket, payer)) !== undefined) return true;
  }
  return false;
};

/** Removes budgets of runs, days and batches that are long over, but for the server's own note. Several replicas may do it at once. */
export class Sweeper {
  readonly #bucket: KV;
  readonly #log: Logger;
  readonly #times: { keepMs: number; observeMs: number; monotonicMs: () => number };
  readonly #sightings = new Map<string, Sighting>();
  #timer: NodeJS.Timeout | undefined;

  /** @param times how long budgets are kept and watched, and the clock to watch by */
  constructor(
    bucket: KV,
    log: Logger,
    times = { keepMs: KEEP_MS, observeMs: OBSERVE_MS, monotonicMs: () => performance.now() },
  ) {
    this.#bucket = bucket;
    this.#log = log;
    this.#times = times;
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.sweep().catch((error) => this.#log.warn({ error: messageOf(error) }, 'the ledger could not be swept'));
    }, SWEEP_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Removes what may be forgotten by now; says how many. */
  async sweep(): Promise<number> {
    await this.#bucket.put(CLOCK_KEY, '');
    const serverMs = (await this.#bucket.get(CLOCK_KEY))!.created.getTime();
    let forgotten = 0;
    // Batches last: their runs may go just now.
    for (const pattern of ['run.*.*', 'live.*.*', 'audit.*.*', 'batch.*.*']) {
      for await (const entry of await this.#bucket.history({ key: pattern })) {
        const ageMs = serverMs - entry.created.getTime();
        if (entry.operation !== 'PUT' || ageMs < this.#times.keepMs) continue;
        const { key, revision } = entry;
        const text = entry.string();
        const reserved = key.startsWith('batch.') ? await counts(this.#bucket, text) : hasLeases(text);
        if (await this.#forget({ key, revision, ageMs, reserved })) forgotten += 1;
      }
    }
    return forgotten;
  }

  async #forget(kept: Kept): Promise<boolean> {
    const { key, revision } = kept;
    const nowMs = this.#times.monotonicMs();
    const sighting = this.#sightings.get(key);
    if (sighting?.revision !== revision) this.#sightings.set(key, { revision, sinceMs: nowMs });
    if (!isForgettable(kept, sighting, nowMs, this.#times)) return false;
    this.#sightings.delete(key);
    // Only as it was looked at: whoever changes it meanwhile keeps it.
    await this.#bucket.purge(key, { previousSeq: revision });
    return true;
  }
}
