import type { KV } from '@nats-io/kv';
import { messageOf } from '@understudy/service/errors';
import type { Logger } from '@understudy/service/telemetry';
import { type Budget, parseBudget } from './budget.ts';

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
  budget: Budget;
  /** Since its last change, by the server's clock. */
  ageMs: number;
}

/** Whether a budget may be forgotten: old, nothing leased, and unchanged for as long as it has to be watched. */
export const isForgettable = (
  { revision, budget, ageMs }: Kept,
  sighting: Sighting | undefined,
  nowMs: number,
  { keepMs, observeMs }: { keepMs: number; observeMs: number },
): boolean =>
  ageMs >= keepMs &&
  Object.keys(budget.leases).length === 0 &&
  sighting?.revision === revision &&
  nowMs - sighting.sinceMs >= observeMs;

/** Removes budgets of runs and days that are long over, but for the server's own note. Several replicas may do it at once. */
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
    for (const pattern of ['run.*.*', 'live.*.*', 'audit.*.*']) {
      for await (const entry of await this.#bucket.history({ key: pattern })) {
        const ageMs = serverMs - entry.created.getTime();
        if (entry.operation !== 'PUT' || ageMs < this.#times.keepMs) continue;
        const { key, revision } = entry;
        if (await this.#forget({ key, revision, ageMs, budget: parseBudget(entry.string()) })) forgotten += 1;
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
