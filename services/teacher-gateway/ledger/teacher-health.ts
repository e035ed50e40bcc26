import { setTimeout as delay } from 'node:timers/promises';
import type { KV } from '@nats-io/kv';
import { compareAndSet, readKey } from '@understudy/service/bus/compare-and-set';
import { messageOf } from '@understudy/service/errors';
import type { Logger } from '@understudy/service/telemetry';
import type { TeacherFailure } from '../teachers/teacher.ts';
import {
  type Blockage,
  blockageOf,
  CONSECUTIVE_FAILURES,
  type Health,
  isTelling,
  opened,
  parseHealth,
  paused,
  probeDropped,
  probed,
  probeFailed,
  recovered,
  type Trouble,
} from './health.ts';
import { Sightings } from './sightings.ts';

/** A try that nobody reports on is over after the call's own limit and this. */
const probeGraceMs = 5_000;
/** Between looks while nothing changes; what others write is seen at once. */
const maxLookMs = 1_000;

/** The teacher is not to be asked for longer than somebody wants to wait. */
export class TeacherAway extends Error {
  override name = 'TeacherAway';
  readonly failure: TeacherFailure;
  /** Until it may be asked at the earliest. */
  readonly waitMs: number;
  /** How long it has been away already. */
  readonly awayMs: number;

  constructor(teacher: string, { failure, detail, waitMs, awayMs }: Blockage) {
    const since = awayMs > 0 ? ` for ${Math.round(awayMs / 1_000)} s` : '';
    super(`${teacher} is not asked${since}: ${detail}`);
    this.failure = failure;
    this.waitMs = waitMs;
    this.awayMs = awayMs;
  }
}

export interface TeacherHealthOptions {
  bucket: KV;
  key: string;
  replica: string;
  /** For people. */
  teacher: string;
  log: Logger;
}

type Change = (health: Health, nowMs: number) => Health | undefined;

/** One replica's view of whether a teacher may be asked, and what it tells the others about it. */
export class TeacherHealth {
  readonly #options: TeacherHealthOptions;
  readonly #sightings = new Sightings();
  #known: Health | undefined;
  #reading: Promise<void> | undefined;
  /** The longest that a call to it may take, over all tasks that ask it. */
  #callMs = 0;
  #failures = 0;
  /** Bad news on its way to the others: it holds here already. */
  #telling: { blockage: Blockage; told: Promise<unknown> } | undefined;
  #probing: Promise<boolean> | undefined;
  #changed = Promise.withResolvers<void>();

  constructor(options: TeacherHealthOptions) {
    this.#options = options;
  }

  get teacher(): string {
    return this.#options.teacher;
  }

  /** Some task gives its calls so long. */
  expectCallMs(timeoutMs: number): void {
    this.#callMs = Math.max(this.#callMs, timeoutMs);
  }

  /** Why the teacher is not to be asked now, as far as this replica knows. */
  get blockage(): Blockage | undefined {
    return this.#telling?.blockage ?? (this.#known && blockageOf(this.#known, this.#now(this.#known)));
  }

  /**
   * Resolves when the teacher may be asked, with whether the call is the try that decides if others may.
   * @throws TeacherAway when that takes longer than `patienceMs`; the signal's reason when it aborts first
   */
  async admit(signal: AbortSignal, patienceMs: number): Promise<{ probe: boolean }> {
    if (!this.#known) await this.#read();
    const until = performance.now() + patienceMs;
    for (;;) {
      signal.throwIfAborted();
      await this.#telling?.told;
      const { blockage } = this;
      if (!blockage) return { probe: false };
      if (blockage.waitMs <= 0) {
        if (await this.#probe()) return { probe: true };
        if (!this.blockage) continue;
      }
      const leftMs = until - performance.now();
      if (leftMs <= 0 || (blockage.waitMs > leftMs && blockage.waitMs > maxLookMs)) {
        throw new TeacherAway(this.#options.teacher, blockage);
      }
      await this.#pause(Math.min(Math.max(blockage.waitMs, 1), leftMs, maxLookMs), signal);
    }
  }

  /** A call was answered. */
  async succeeded(probe: boolean): Promise<void> {
    this.#failures = 0;
    if (!probe) return;
    const { teacher, log } = this.#options;
    log.info({ teacher }, 'the teacher answers again');
    await this.#change(recovered);
  }

  /** A call failed. Resolves when all that follows from it is known to the other replicas, or cannot be told. */
  async failed(trouble: Trouble, probe: boolean): Promise<void> {
    const { replica } = this.#options;
    const { failure, retryAfterMs } = trouble;
    const telling = isTelling(failure);
    if (telling) this.#failures += 1;
    if (probe && telling) await this.#change((health, nowMs) => probeFailed(health, nowMs, replica, trouble));
    else if (probe) await this.dropped();
    else if (failure === 'unauthorized' || this.#failures >= CONSECUTIVE_FAILURES) await this.#open(trouble);
    else if (retryAfterMs) await this.#tell(trouble, (health, nowMs) => paused(health, nowMs, retryAfterMs));
  }

  /** The try was not made. */
  async dropped(): Promise<void> {
    await this.#change((health, nowMs) => probeDropped(health, nowMs, this.#options.replica));
  }

  /** The health changed, by whomever. */
  saw(health: Health): void {
    this.#sightings.see(health.turn, performance.now());
    if (this.#known && health.turn <= this.#known.turn) return;
    this.#known = health;
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  async #open(trouble: Trouble): Promise<void> {
    if (this.#known?.breaker || this.#telling?.blockage.open) return this.#telling?.told.then(() => {});
    const { teacher, log } = this.#options;
    const facts = { teacher, failure: trouble.failure, detail: trouble.detail, failures: this.#failures };
    log.error(facts, 'alarm: the teacher fails, it is not asked until a try succeeds');
    await this.#tell(trouble, (health, nowMs) => opened(health, nowMs, trouble), true);
  }

  /** Nobody here asks while the others are being told. */
  async #tell(trouble: Trouble, decide: Change, open = false): Promise<void> {
    const { failure, detail } = trouble;
    const telling = { blockage: { open, waitMs: 1, awayMs: 0, failure, detail }, told: this.#change(decide) };
    this.#telling = telling;
    await telling.told;
    if (this.#telling === telling) this.#telling = undefined;
  }

  /** Whether the try is ours: of those that wait here one asks for it. */
  async #probe(): Promise<boolean> {
    if (this.#probing) {
      await this.#probing;
      return false;
    }
    this.#probing = this.#takeProbe();
    try {
      return await this.#probing;
    } finally {
      this.#probing = undefined;
    }
  }

  async #takeProbe(): Promise<boolean> {
    const { replica } = this.#options;
    return this.#change((health, nowMs) => probed(health, nowMs, replica, this.#callMs + probeGraceMs));
  }

  #now(health: Health): number {
    return this.#sightings.nowMs(health, performance.now());
  }

  async #read(): Promise<void> {
    this.#reading ??= this.#readOnce().finally(() => {
      this.#reading = undefined;
    });
    await this.#reading;
  }

  async #readOnce(): Promise<void> {
    const { bucket, key, log } = this.#options;
    try {
      this.saw(parseHealth(await readKey(bucket, key)));
    } catch (error) {
      log.warn({ key, error: messageOf(error) }, 'the health of a teacher cannot be read, it is taken for well');
    }
  }

  /** Whether something was changed. Never throws: what cannot be told now is told by the next failure. */
  async #change(decide: Change): Promise<boolean> {
    const { bucket, key, log, teacher } = this.#options;
    try {
      const { health, written } = await compareAndSet(bucket, key, (text) => {
        const before = parseHealth(text);
        const next = decide(before, this.#now(before));
        if (!next) return { result: { health: before, written: false } };
        return { write: JSON.stringify({ ...next, teacher }), result: { health: next, written: true } };
      });
      this.saw(health);
      return written;
    } catch (error) {
      log.warn({ key, error: messageOf(error) }, 'the health of a teacher could not be written');
      return false;
    }
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    try {
      await Promise.race([
        this.#changed.promise,
        delay(ms, undefined, { signal: AbortSignal.any([signal, over.signal]) }).catch(() => {}),
      ]);
    } finally {
      over.abort();
    }
  }
}
