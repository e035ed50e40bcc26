import { setTimeout as delay } from 'node:timers/promises';
import { create, equals } from '@bufbuild/protobuf';
import { type Deployment, DeploymentSchema } from '@understudy/contract/deployer';
import { messageOf } from '@understudy/service/errors';
import type { Logger } from '@understudy/service/telemetry';
import { deploymentRetryFirstMs, deploymentRetryMaxMs } from '../limits.ts';
import type { Metrics } from '../metrics.ts';
import type { Threads } from '../students/threads.ts';
import { type Loading, loadDeployment } from './load.ts';
import { type ServedTask, type Serving, sessionsOf } from './serving.ts';

export interface DeploymentsOptions extends Loading {
  threads: Threads;
  serving: Serving;
  metrics: Metrics;
  log: Logger;
}

/** What shall be served of one task. */
interface Wish {
  /** Undefined: nothing. */
  deployment: Deployment | undefined;
  /** Resolves when it was fulfilled, or failed once, or a newer wish took its place. */
  attempted: PromiseWithResolvers<void>;
  /** Aborted when a newer wish takes its place. */
  replaced: AbortController;
}

/**
 * Brings what is served to what is wanted, each task to its newest wish: load and warm beside what serves, swap, let
 * the old one finish, keep the new one on disk. What cannot be loaded raises an alarm, changes nothing that serves,
 * and is tried again until it works or is no longer wanted.
 */
export class Deployments {
  readonly #options: DeploymentsOptions;
  readonly #wishes = new Map<string, Wish>();
  readonly #loops = new Map<string, Promise<void>>();
  /** Students that finish what they had begun. */
  readonly #retiring = new Set<Promise<void>>();
  #keeping: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(options: DeploymentsOptions) {
    this.#options = options;
  }

  /** Serves again what this machine served last. A damaged memory raises an alarm and is done without. */
  async restore(): Promise<void> {
    const { cache, log } = this.#options;
    try {
      const kept = await cache.deployments();
      await Promise.all(kept.map((deployment) => this.want(deployment.task, deployment)));
    } catch (error) {
      log.error({ error: messageOf(error) }, 'what was served last cannot be read; waiting for the bus');
    }
  }

  /**
   * Serves this deployment as soon as it can be loaded; undefined: the task is served no more.
   * @returns resolves once that was done, or was tried once, or something newer was wanted
   */
  want(task: string, deployment: Deployment | undefined): Promise<void> {
    const wish: Wish = { deployment, attempted: Promise.withResolvers(), replaced: new AbortController() };
    if (this.#stopped) return Promise.resolve();
    const before = this.#wishes.get(task);
    before?.replaced.abort();
    before?.attempted.resolve();
    this.#wishes.set(task, wish);
    if (!this.#loops.has(task)) this.#loops.set(task, this.#fulfil(task));
    return wish.attempted.promise;
  }

  /** Loads nothing any more and lets every student finish. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const wish of this.#wishes.values()) wish.replaced.abort();
    await Promise.all(this.#loops.values());
    for (const { task } of this.#options.serving.all()) this.#retire(this.#options.serving.remove(task.task.name));
    await Promise.all(this.#retiring);
    await this.#keeping;
  }

  /** One task's loop: ends when its newest wish is fulfilled. */
  async #fulfil(task: string): Promise<void> {
    let retryMs = deploymentRetryFirstMs;
    for (;;) {
      const wish = this.#wishes.get(task)!;
      const done = await this.#attempt(task, wish);
      wish.attempted.resolve();
      const newest = wish === this.#wishes.get(task);
      if (this.#stopped || (done && newest)) {
        this.#loops.delete(task);
        return;
      }
      if (newest) await delay(retryMs, undefined, { signal: wish.replaced.signal }).catch(() => {}); // a newer wish ends it
      retryMs = newest ? Math.min(retryMs * 2, deploymentRetryMaxMs) : deploymentRetryFirstMs;
    }
  }

  async #attempt(task: string, { deployment }: Wish): Promise<boolean> {
    const { serving, metrics, log } = this.#options;
    const current = serving.get(task);
    if (!deployment) {
      this.#retire(serving.remove(task));
      metrics.generation.remove({ task });
      this.#keep();
      return true;
    }
    if (current && equals(DeploymentSchema, current.deployment, deployment) && isWhole(current)) return true;
    try {
      const { served, missing } = await this.#load(deployment, current);
      this.#swap(served);
      log.info(facts(deployment), 'serves');
      if (missing === undefined) return true;
      metrics.deploymentFailures.inc({ task });
      log.error({ ...facts(deployment), error: messageOf(missing) }, 'a challenger does not load; what serves goes on');
      return false;
    } catch (error) {
      metrics.deploymentFailures.inc({ task });
      log.error({ ...facts(deployment), error: messageOf(error) }, 'a deployment does not load; what served goes on');
      if (!current) await this.#serveByTeacher(deployment);
      return false;
    }
  }

  #load(deployment: Deployment, current?: ServedTask) {
    const { metrics, log, threads } = this.#options;
    const session = {
      log: log.child(facts(deployment)),
      threads,
      onRestart: () => metrics.studentRestarts.inc({ task: deployment.task }),
    };
    return loadDeployment(this.#options, deployment, session, current);
  }

  /** With no student before and none that loads now, the teacher can still answer. */
  async #serveByTeacher(deployment: Deployment): Promise<void> {
    if (deployment.studentDigest === '') return;
    try {
      const teacher = { studentDigest: '', policyDigest: '', challenger: undefined, auditShare: 0 };
      this.#swap((await this.#load(create(DeploymentSchema, { ...deployment, ...teacher }))).served);
      this.#options.log.warn(facts(deployment), 'the teacher answers everything until the student loads');
    } catch (error) {
      this.#options.log.error({ ...facts(deployment), error: messageOf(error) }, 'the task does not load either');
    }
  }

  #swap(next: ServedTask): void {
    const { serving, metrics } = this.#options;
    this.#retire(serving.swap(next), next);
    metrics.generation.set({ task: next.deployment.task }, Number(next.deployment.generation));
    this.#keep();
  }

  /** Lets go of the students that serve no more. */
  #retire(before: ServedTask | undefined, next?: ServedTask): void {
    const staying = new Set(sessionsOf(next));
    for (const student of sessionsOf(before)) {
      if (staying.has(student)) continue;
      const retired = student.retire().finally(() => this.#retiring.delete(retired));
      this.#retiring.add(retired);
    }
  }

  #keep(): void {
    const { cache, serving, log } = this.#options;
    if (this.#stopped) return;
    this.#keeping = this.#keeping
      .then(() => cache.keep(serving.all()))
      .catch((error) => log.error({ error: messageOf(error) }, 'what is served cannot be kept on disk'));
  }
}

/** False where the challenger that it names did not load. */
const isWhole = ({ deployment, challenger }: ServedTask): boolean =>
  (deployment.challenger?.auditShare ?? 0) === 0 || challenger !== undefined;

const facts = ({ task, generation, studentDigest }: Deployment) => ({
  task,
  generation: generation.toString(),
  student: studentDigest,
});
