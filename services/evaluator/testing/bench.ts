import { fromBinary } from '@bufbuild/protobuf';
import {
  type ConsumerName,
  type EvalFailed,
  EvalFailedSchema,
  type EvalPassed,
  EvalPassedSchema,
  type PayloadInit,
} from '@understudy/contract';
import type { SplitPair } from '@understudy/contract/pair-store';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { allHandled, type TestBus, testBus } from '@understudy/service/testing';
import type { CompiledTask } from '@understudy/task';
import { corpus, keepStudent, type SmallTraining, SnapshotServer, smallTraining, temporaryBlobs } from './corpus.ts';

export type StudentTrainedInit = PayloadInit<'student.trained'>;
export type VerdictEvent = (EvalPassed | EvalFailed) & { type: 'passed' | 'failed' };

/** All that an evaluator has around it: bus, blobs, a pair store, pairs in it and a good student of them. */
export class Bench implements AsyncDisposable {
  readonly server: TestBus;
  readonly pairStore: SnapshotServer;
  readonly pairs: readonly SplitPair[];
  readonly good: SmallTraining;
  readonly #store: Awaited<ReturnType<typeof temporaryBlobs>>;
  #published = 0;

  private constructor(parts: Pick<Bench, 'server' | 'pairStore' | 'pairs' | 'good'>, store: Bench['store']) {
    this.server = parts.server;
    this.pairStore = parts.pairStore;
    this.pairs = parts.pairs;
    this.good = parts.good;
    this.#store = store;
  }

  static async start(): Promise<Bench> {
    const server = await testBus();
    const pairs = corpus({ seed: 1, train: 600, dev: 200, test: 400 });
    const pairStore = await SnapshotServer.start(server.telemetry);
    return new Bench({ server, pairStore, pairs, good: smallTraining(pairs) }, await temporaryBlobs());
  }

  get store() {
    return this.#store;
  }

  get blobs(): BlobStore {
    return this.#store.blobs;
  }

  get environment() {
    return {
      NATS_URL: this.server.server.url,
      PAIR_STORE_ADDRESS: this.pairStore.address,
      DATA_DIR: this.#store.folder,
      LOG_LEVEL: 'fatal',
    };
  }

  /** An event about a student of these pairs, everything that it names in place. */
  async event(task: CompiledTask, runId: string, of = this.pairs, trained = this.good) {
    const snapshot = this.pairStore.add(of);
    const student = await keepStudent(this.blobs, trained, task, snapshot.digest);
    return { runId, task: task.task.name, taskDigest: task.digest, seal: 1, snapshot, student };
  }

  /** Each time a message of its own, also for the same payload: what a replay is. */
  publish(payload: StudentTrainedInit): Promise<void> {
    this.#published += 1;
    return this.server.publisher.publish({
      type: 'student.trained',
      entity: `message-${this.#published}`,
      payload,
    });
  }

  /** The verdicts of a task, once there are so many. */
  async verdicts(task: CompiledTask, count: number): Promise<VerdictEvent[]> {
    const filter_subjects = ['passed', 'failed'].map((verdict) => `eval.${verdict}.${task.task.name}`);
    const consumer = await this.server.bus.js.consumers.get('FACTS', { filter_subjects });
    const found: VerdictEvent[] = [];
    while (found.length < count) {
      const message = await consumer.next({ expires: 120_000 });
      if (!message) throw new Error(`expected ${count} verdicts of ${task.task.name}, got ${found.length}`);
      const type = message.subject.startsWith('eval.passed') ? 'passed' : 'failed';
      const payload = fromBinary(type === 'passed' ? EvalPassedSchema : EvalFailedSchema, message.data);
      found.push({ ...payload, type } as VerdictEvent);
    }
    return found;
  }

  /** The first verdict of a run of this task. */
  async verdictOf(task: CompiledTask, runId: string): Promise<VerdictEvent> {
    for (let count = 1; ; count += 1) {
      const verdict = (await this.verdicts(task, count)).at(-1)!;
      if (verdict.runId === runId) return verdict;
    }
  }

  /** Resolves when a consumer has nothing left to do. */
  idle(consumer: ConsumerName): Promise<void> {
    return allHandled(this.server.bus, consumer);
  }

  /** Looks that a task has made. */
  async looksOf(task: CompiledTask): Promise<number> {
    const entry = await (await this.server.bus.bucket('looks')).get(task.task.name);
    return entry?.json<{ looks: number }>().looks ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pairStore[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
    await this.#store[Symbol.asyncDispose]();
  }
}
