import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { KV } from '@nats-io/kv';
import { readKey } from '@understudy/service/bus/compare-and-set';
import { messageOf } from '@understudy/service/errors';
import type { Logger } from '@understudy/service/telemetry';
import { sha256Hex, type Task } from '@understudy/task';
import { Account } from './account.ts';
import { type Amount, type BudgetTotals, parseBudget, totalsOf } from './budget.ts';
import { Permits } from './permits.ts';
import { parseRate, type RateLimits } from './rate.ts';

/** Between tries to watch the rates again after the watch broke. */
const rewatchMs = 1_000;

/**
 * Keys of the bucket: `run.<task>.<run>`, `live.<task>.<day>`, `rate.<task>`. A run's id may be anything that an outside
 * program chose, so its digest stands for it.
 */
const runKey = (task: string, runId: string) => `run.${task}.${sha256Hex(runId).slice(0, 32)}`;
const liveKey = (task: string, atMs: number) => `live.${task}.${new Date(atMs).toISOString().slice(0, 10)}`;
const rateKey = (task: string) => `rate.${task}`;

export const microUsdOf = (usd: number): number => Math.ceil(usd * 1e6);

/** Who may call which teacher how often and at what cost, over all replicas: this replica's side of it. */
export class Ledger {
  /** A process that starts again is another replica: what it held before is not its own any more. */
  readonly #replica = randomUUID();
  readonly #bucket: KV;
  readonly #log: Logger;
  readonly #accounts = new Map<string, Account>();
  readonly #permits = new Map<string, Permits>();
  #born = 0;
  #stopped = false;
  #stopWatch = () => {};
  #watching: Promise<void> = Promise.resolve();

  constructor(bucket: KV, log: Logger) {
    this.#bucket = bucket;
    this.#log = log;
  }

  start(): void {
    this.#watching = this.#watch();
  }

  /** What a run of a task may spend. */
  ofRun(task: Task, runId: string): Account {
    const limit = { calls: task.budget.calls, microUsd: microUsdOf(task.budget.usd) };
    return this.#account(runKey(task.name, runId), limit);
  }

  /** What live requests of a task may spend today (UTC). */
  ofLive(task: Task): Account {
    const limit = { calls: task.live.callsPerDay, microUsd: microUsdOf(task.live.usdPerDay) };
    return this.#account(liveKey(task.name, Date.now()), limit);
  }

  #account(key: string, limit: Amount): Account {
    const known = this.#accounts.get(key);
    if (known) return known;
    const account = new Account({
      bucket: this.#bucket,
      key,
      replica: this.#replica,
      limit,
      log: this.#log,
      onIdle: () => this.#accounts.delete(key),
    });
    this.#accounts.set(key, account);
    return account;
  }

  /**
   * Permits to call a task's teacher.
   * @param wants calls that this replica makes at once at most
   * @param callsOutliveMs how long a call may still be in flight at the teacher after this process died
   */
  permits(task: string, limits: RateLimits, wants: number, callsOutliveMs: number): Permits {
    const key = `${rateKey(task)} ${limits.concurrency} ${limits.requestsPerMinute} ${wants}`;
    const known = this.#permits.get(key);
    if (known) return known;
    const permits = new Permits({
      bucket: this.#bucket,
      key: rateKey(task),
      // Two versions of a task with limits of their own hold places apart from each other.
      replica: `${this.#replica}-${this.#born++}`,
      limits,
      wants,
      callsOutliveMs,
      log: this.#log,
      onIdle: () => this.#permits.delete(key),
    });
    this.#permits.set(key, permits);
    return permits;
  }

  /** What a run has spent, or where no run is named, what live requests have today. */
  async totals(task: string, runId: string): Promise<BudgetTotals> {
    const key = runId === '' ? liveKey(task, Date.now()) : runKey(task, runId);
    return totalsOf(parseBudget(await readKey(this.#bucket, key)), Date.now());
  }

  async close(): Promise<void> {
    this.#stopped = true;
    this.#stopWatch();
    await Promise.all([...this.#accounts.values(), ...this.#permits.values()].map((one) => one.close()));
    await this.#watching;
  }

  /** Replicas see each other's holdings at once: that makes shares fair, and tells how much time has passed. */
  async #watch(): Promise<void> {
    while (!this.#stopped) {
      try {
        const entries = await this.#bucket.watch({ key: rateKey('*') });
        this.#stopWatch = () => entries.stop();
        if (this.#stopped) entries.stop();
        for await (const entry of entries) if (entry.operation === 'PUT') this.#saw(entry.key, entry.string());
      } catch (error) {
        if (!this.#stopped) this.#log.warn({ error: messageOf(error) }, 'the ledger cannot be watched, trying again');
      }
      if (!this.#stopped) await delay(rewatchMs);
    }
  }

  #saw(key: string, text: string): void {
    const rate = parseRate(text);
    for (const [name, permits] of this.#permits) if (name.startsWith(`${key} `)) permits.saw(rate);
  }
}
