import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type KV, KvWatchInclude } from '@nats-io/kv';
import { compareAndSet, readKey } from '@understudy/service/bus/compare-and-set';
import { messageOf } from '@understudy/service/errors';
import type { Logger } from '@understudy/service/telemetry';
import { auditPolicyOf, type CompiledTask, sha256Hex, type Task, type Teacher } from '@understudy/task';
import { Account } from './account.ts';
import { type BatchPart, paidBy, parseBatches, takenOver, totalsOfBatches, withPart } from './batches.ts';
import { type Amount, type BudgetTotals, minus, nothing, parseBudget, totalsOf } from './budget.ts';
import { type Blockage, parseHealth } from './health.ts';
import { LeaseSightings } from './lease-sightings.ts';
import { Permits } from './permits.ts';
import { parseRate, type RateLimits } from './rate.ts';

import { Sweeper } from './sweeper.ts';
import { TeacherHealth } from './teacher-health.ts';

/** Budgets of which `totals` remembers when it saw them. */
const maxAskedBudgets = 1_000;
/** Between tries to watch the rates again after the watch broke. */
const rewatchMs = 1_000;

/**
 * Keys of the bucket: `run.<task>.<run>`, `batch.<task>.<version>`, `live.<task>.<day>`, `audit.<task>.<day>`, `rate.<task>`, `teacher.<teacher>`. A run's id may be anything
 * that an outside program chose, so its digest stands for it.
 */
const runKey = (task: string, runId: string) => `run.${task}.${sha256Hex(runId).slice(0, 32)}`;
const batchKey = (task: string, digest: string) => `batch.${task}.${digest}`;
const liveKey = (task: string, day: string) => `live.${task}.${day}`;
const auditKey = (task: string, day: string) => `audit.${task}.${day}`;
const rateKey = (task: string) => `rate.${task}`;
const teacherKey = (address: object) => `teacher.${sha256Hex(JSON.stringify(address)).slice(0, 32)}`;

const placeOf = (teacher: Teacher): string => {
  if ('baseUrl' in teacher) return teacher.baseUrl;
  if ('subject' in teacher) return teacher.subject;
  return 'folder' in teacher ? teacher.folder : '';
};

/** What makes a teacher the same one for every task: its kind, model, place and credentials. */
const addressOf = (teacher: Teacher) => ({
  kind: teacher.kind,
  model: teacher.model,
  at: placeOf(teacher),
  keyEnv: 'apiKeyEnv' in teacher ? teacher.apiKeyEnv : undefined,
  keyFile: 'apiKeyFile' in teacher ? teacher.apiKeyFile : undefined,
});

export const microUsdOf = (usd: number): number => Math.ceil(usd * 1e6);

const budgetOf = ({ budget }: Task): Amount => ({ calls: budget.calls, microUsd: microUsdOf(budget.usd) });

/** One version of a task. */
type Version = Pick<CompiledTask, 'task' | 'digest'>;

/** Who may call which teacher how often and at what cost, over all replicas: this replica's side of it. */
export class Ledger {
  /** A process that starts again is another replica: what it held before is not its own any more. */
  readonly #replica = randomUUID();
  readonly #bucket: KV;
  readonly #log: Logger;
  readonly #busy = new Set<Account>();
  readonly #accounts = new Map<string, Account>();
  readonly #permits = new Map<string, Permits>();
  readonly #teachers = new Map<string, TeacherHealth>();
  readonly #teacherOf = new WeakMap<Task, TeacherHealth>();
  /** Of budgets that somebody asked about. */
  readonly #sightings = new Map<string, LeaseSightings>();
  #born = 0;
  #today = '';
  readonly #sweeper: Sweeper;
  #stopped = false;
  readonly #stopWatches = new Set<() => void>();
  #watching: Promise<unknown> = Promise.resolve();

  constructor(bucket: KV, log: Logger) {
    this.#bucket = bucket;
    this.#log = log;
    this.#sweeper = new Sweeper(bucket, log);
  }

  start(): void {
    this.#sweeper.start();
    this.#watching = Promise.all([
      this.#watch(rateKey('*'), (key, text) => this.#sawRate(key, text)),
      this.#watch('teacher.*', (key, text) => this.#sawTeacher(key, text)),
    ]);
  }

  /** What a run of a task may spend: the budget, less what is paid from it for a batch. */
  ofRun({ task, digest }: Version, runId: string): Account {
    const key = runKey(task.name, runId);
    const budget = budgetOf(task);
    return this.#account(key, async () => minus(budget, await this.#takeOverBatches(batchKey(task.name, digest), key)));
  }

  /** A run that has begun to spend takes over nothing more: it may have spent by now what would be paid from. */
  async #takeOverBatches(batches: string, run: string): Promise<Amount> {
    const known = parseBatches(await readKey(this.#bucket, batches));
    const isUnpaid = takenOver(known, run) !== undefined;
    if (!isUnpaid || (await readKey(this.#bucket, run)) !== undefined) return paidBy(known, run);
    return compareAndSet(this.#bucket, batches, (text) => {
      const before = parseBatches(text);
      const next = takenOver(before, run);
      return { ...(next ? { write: JSON.stringify(next) } : {}), result: paidBy(next ?? before, run) };
    });
  }

  /** Keeps what a file of a provider's batch may cost, and what it did; false when that is beyond the task's budget. */
  async accountBatch({ task, digest }: Version, id: string, part: BatchPart): Promise<boolean> {
    return compareAndSet(this.#bucket, batchKey(task.name, digest), (text) => {
      const next = withPart(parseBatches(text), budgetOf(task), id, part);
      return next ? { write: JSON.stringify(next), result: true } : { result: false };
    });
  }

  /** What the batches of a version of a task have spent, and may still spend. */
  async totalsOfBatches(task: string, digest: string): Promise<BudgetTotals> {
    const batches = parseBatches(await readKey(this.#bucket, batchKey(task, digest)));
    return { ...totalsOfBatches(batches), expired: nothing };
  }

  /** What live requests of a task may spend today (UTC). */
  ofLive(task: Task): Account {
    const limit = { calls: task.live.callsPerDay, microUsd: microUsdOf(task.live.usdPerDay) };
    return this.#account(liveKey(task.name, this.#day()), async () => limit);
  }

  /** What checks of a task's answers, and of its teacher, may spend today (UTC): apart from what clients ask. */
  ofAudits(task: Task): Account {
    const { callsPerDay, usdPerDay } = auditPolicyOf(task);
    const limit = { calls: callsPerDay, microUsd: microUsdOf(usdPerDay) };
    return this.#account(auditKey(task.name, this.#day()), async () => limit);
  }

  /** What may be spent to find out what a run would cost. */
  ofEstimate(task: Task, estimateId: string, limit: Amount): Account {
    return this.#account(runKey(task.name, estimateId), async () => limit);
  }

  /** Never an earlier day than before: a clock that is set back must not open a budget that was spent. */
  #day(): string {
    const today = new Date().toISOString().slice(0, 10);
    if (today > this.#today) this.#today = today;
    return this.#today;
  }

  #account(key: string, limit: () => Promise<Amount>): Account {
    const known = this.#accounts.get(key);
    if (known) return known;
    const account: Account = new Account({
      bucket: this.#bucket,
      key,
      // Whoever still holds an account that went idle may go on with it beside a new one: each has a lease of its own.
      replica: `${this.#replica}-${this.#born++}`,
      limit,
      log: this.#log,
      onBusy: () => this.#busy.add(account),
      onIdle: () => {
        this.#busy.delete(account);
        if (this.#accounts.get(key) === account) this.#accounts.delete(key);
      },
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
    const { concurrency, requestsPerMinute, tokensPerMinute } = limits;
    const key = `${rateKey(task)} ${concurrency} ${requestsPerMinute} ${tokensPerMinute} ${wants}`;
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

  /** Whether a task's teacher may be asked at all. */
  healthOf(task: Task): TeacherHealth {
    const known = this.#teacherOf.get(task);
    if (known) return known;
    const { teacher } = task;
    const address = addressOf(teacher);
    const key = teacherKey(address);
    const name = address.at === '' ? address.model : `${address.model} at ${address.at}`;
    const health = this.#teachers.get(key) ?? this.#healthAt(key, name);
    health.expectCallMs(teacher.timeoutMs);
    this.#teacherOf.set(task, health);
    return health;
  }

  #healthAt(key: string, teacher: string): TeacherHealth {
    const health = new TeacherHealth({
      bucket: this.#bucket,
      key,
      replica: this.#replica,
      teacher,
      log: this.#log,
    });
    this.#teachers.set(key, health);
    return health;
  }

  /** Every teacher that had troubles, and why it is not asked now, if so. */
  teachers(): { teacher: string; blockage: Blockage | undefined }[] {
    return [...this.#teachers.values()].map(({ teacher, blockage }) => ({ teacher, blockage }));
  }

  /** What a run has spent, or where no run is named, what live requests have today. */
  async totals(task: string, runId: string): Promise<BudgetTotals> {
    const key = runId === '' ? liveKey(task, this.#day()) : runKey(task, runId);
    const budget = parseBudget(await readKey(this.#bucket, key));
    return totalsOf(budget, this.#sightingsOf(key).overdue(budget, performance.now()));
  }

  #sightingsOf(key: string): LeaseSightings {
    const sightings = this.#sightings.get(key) ?? new LeaseSightings();
    this.#sightings.delete(key);
    this.#sightings.set(key, sightings);
    if (this.#sightings.size > maxAskedBudgets) this.#sightings.delete(this.#sightings.keys().next().value!);
    return sightings;
  }

  async close(): Promise<void> {
    this.#stopped = true;
    this.#sweeper.stop();
    for (const stop of this.#stopWatches) stop();
    await Promise.all([...this.#busy, ...this.#permits.values()].map((one) => one.close()));
    await this.#watching;
  }

  /** Replicas see each other's changes at once: that makes shares fair, spreads news, and tells how much time has passed. */
  async #watch(key: string, saw: (key: string, text: string) => void): Promise<void> {
    while (!this.#stopped) {
      try {
        const entries = await this.#bucket.watch({ key, include: KvWatchInclude.LastValue });
        const stop = () => entries.stop();
        this.#stopWatches.add(stop);
        if (this.#stopped) stop();
        for await (const entry of entries) if (entry.operation === 'PUT') saw(entry.key, entry.string());
        this.#stopWatches.delete(stop);
      } catch (error) {
        if (!this.#stopped) this.#log.warn({ error: messageOf(error) }, 'the ledger cannot be watched, trying again');
      }
      if (!this.#stopped) await delay(rewatchMs);
    }
  }

  #sawRate(key: string, text: string): void {
    const rate = parseRate(text);
    for (const [name, permits] of this.#permits) if (name.startsWith(`${key} `)) permits.saw(rate);
  }

  #sawTeacher(key: string, text: string): void {
    const health = parseHealth(text);
    const known = this.#teachers.get(key) ?? this.#healthAt(key, health.teacher);
    known.saw(health);
  }
}
