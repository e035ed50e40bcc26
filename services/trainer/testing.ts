/** What the tests of this service share: it, on a real bus, beside a pair store of a few lines. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { type EventType, type PayloadOf, Split } from '@understudy/contract';
import { PairStoreService, type SplitPairSchema } from '@understudy/contract/pair-store';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { openBlobStore } from '@understudy/service/blobs/open-blob-store';
import { hear } from '@understudy/service/bus/broadcast';
import { type RunningService, startService } from '@understudy/service/lifecycle';
import { RpcServer, rpcService } from '@understudy/service/rpc/server';
import { notFound } from '@understudy/service/rpc/status';
import { freePort, type TestBus, testBus } from '@understudy/service/testing';
import { parseTask, taskJson } from '@understudy/task';
import { labelSchema } from '@understudy/task/testing';
import { definition } from './service.ts';

export const TASK = 'desk';
export const SNAPSHOT = 'b'.repeat(64);
export const LABELS = ['bill', 'parcel'] as const;

/** The task of these tests, with whatever a test wants otherwise. */
export const taskOf = ({ goal = {}, training = {} }: { goal?: object; training?: object } = {}): object => ({
  name: TASK,
  description: 'Which desk a message belongs to.',
  input: { fields: ['text'] },
  prompt: { instructions: 'Say which desk.', template: '{{text}}', maxCharacters: 200 },
  output: { schema: labelSchema(LABELS) },
  examples: [
    { input: { text: 'my invoice' }, output: { label: 'bill' } },
    { input: { text: 'my box' }, output: { label: 'parcel' } },
  ],
  teacher: { kind: 'nats', subject: 'teacher.desk', model: 'fake' },
  sources: [{ kind: 'lines', path: '/prompts.txt' }],
  budget: { calls: 100, usd: 0 },
  goal: { agreement: 0.9, coverage: 0.5, confidence: 0.95, latencyMs: 1_000, sizeBytes: 5_000_000, ...goal },
  training,
});

/** What a test gets wrong in `pairs.sealed`. */
type Change = {
  taskDigest?: string;
  snapshot?:
    | { digest: string; fingerprint: string; trainPairs: number; devPairs: number; testPairs?: number }
    | undefined;
};

export type Pair = MessageInitShape<typeof SplitPairSchema>;

/** Pairs whose label shows in their text; every third has probabilities. */
export function pairs(split: Split, count: number, labels: readonly string[] = LABELS): Pair[] {
  return Array.from({ length: count }, (_, i): Pair => {
    const index = i % labels.length;
    const text = `${['the invoice', 'a parcel'][index]} number ${i * 7919} ${['was charged', 'never came'][index]}`;
    const probabilities = LABELS.map((_, label) => (label === index ? 0.875 : 0.125));
    const soft = i % 3 ? [] : [{ head: 'label', probabilities }];
    const answerJson = JSON.stringify({ label: labels[index] });
    return {
      split,
      groupId: `${split} ${i}`,
      weight: 1 + (i % 4),
      pair: { pairId: `${i}`, promptId: `${split} ${text}`, text, answerJson, soft },
    };
  });
}

/** A pair store that holds the snapshots it is given, counts who reads them, and lets no more read than it should. */
export class PairStore implements AsyncDisposable {
  readonly snapshots = new Map<string, Pair[]>();
  reads = 0;
  /** Reads beyond these wait until `open`. */
  allowedReads = Number.POSITIVE_INFINITY;
  readonly #opened = Promise.withResolvers<void>();
  readonly #waited = Promise.withResolvers<void>();
  readonly #server: RpcServer;
  readonly port: number;

  constructor(bus: TestBus, port: number) {
    this.port = port;
    const snapshots = this.snapshots;
    const counted = async () => {
      this.reads += 1;
      if (this.reads <= this.allowedReads) return;
      this.#waited.resolve();
      await this.#opened.promise;
    };
    const unused = async () => Promise.reject(new Error('not part of this test'));
    this.#server = new RpcServer({ host: '127.0.0.1', port, reflection: false, telemetry: bus.telemetry }, [
      rpcService(PairStoreService, {
        getSnapshot: unused,
        stats: unused,
        findPairs: unused,
        importPairs: unused,
        streamPairs: async function* ({ snapshotDigest, split }) {
          counted();
          const stored = snapshots.get(snapshotDigest);
          if (!stored) throw notFound(`there is no snapshot ${snapshotDigest}`);
          const wanted = stored.filter((pair) => pair.split === split);
          for (let start = 0; start < wanted.length; start += 100) yield { pairs: wanted.slice(start, start + 100) };
        },
      }),
    ]);
  }

  listen(): Promise<void> {
    return this.#server.listen();
  }

  /** Resolves when somebody waits. */
  get someoneWaits(): Promise<void> {
    return this.#waited.promise;
  }

  /** Lets everybody read. */
  open(): void {
    this.#opened.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.open();
    await this.#server.stop(0);
  }
}

/** Everything of one type that was published, as it comes. */
export class Heard<T extends EventType> implements AsyncDisposable {
  readonly all: PayloadOf<T>[] = [];
  readonly #stop: () => Promise<void>;
  #changed = Promise.withResolvers<void>();

  constructor(bus: TestBus, type: T) {
    this.#stop = hear(bus.bus, bus.telemetry, type, (payload) => {
      this.all.push(payload);
      this.#changed.resolve();
      this.#changed = Promise.withResolvers();
    });
  }

  /** The first fact that passes, past or to come. */
  async first(passes: (payload: PayloadOf<T>) => boolean = () => true): Promise<PayloadOf<T>> {
    for (;;) {
      const found = this.all.find(passes);
      if (found) return found;
      await this.#changed.promise;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stop();
  }
}

/** A bus, a pair store, a data folder with the task, and trainers over them. */
export class Stage implements AsyncDisposable {
  readonly bus: TestBus;
  readonly folder: string;
  readonly blobs: BlobStore;
  readonly pairStore: PairStore;
  readonly taskDigest: string;

  private constructor(bus: TestBus, folder: string, blobs: BlobStore, pairStore: PairStore, taskDigest: string) {
    this.bus = bus;
    this.folder = folder;
    this.blobs = blobs;
    this.pairStore = pairStore;
    this.taskDigest = taskDigest;
  }

  static async set(change: Parameters<typeof taskOf>[0] = {}): Promise<Stage> {
    const bus = await testBus();
    const folder = await mkdtemp(join(tmpdir(), 'understudy-trainer-'));
    const blobs = await openBlobStore({ DATA_DIR: folder });
    const task = taskJson(parseTask(JSON.stringify(taskOf(change)), 'the task of this test'));
    const taskDigest = await blobs.put('tasks', new TextEncoder().encode(task));
    return new Stage(bus, folder, blobs, new PairStore(bus, await freePort()), taskDigest);
  }

  /** What a trainer of this stage is started with. */
  get environment(): Record<string, string> {
    return {
      NATS_URL: this.bus.server.url,
      DATA_DIR: this.folder,
      PAIR_STORE_ADDRESS: `127.0.0.1:${this.pairStore.port}`,
      TRAINING_THREADS: '2',
      DRAIN_TIMEOUT_MS: '0',
      LOG_LEVEL: process.env.TEST_LOG_LEVEL ?? 'fatal',
      NODE_ENV: 'test',
    };
  }

  startTrainer(env: Record<string, string> = {}): Promise<RunningService> {
    return startService(definition, { ...this.environment, ...env });
  }

  /** Stores a snapshot's pairs and says that they are sealed. */
  async seal(runId: string, stored: Pair[], change: Change = {}, entity = '1'): Promise<void> {
    this.pairStore.snapshots.set(SNAPSHOT, stored);
    const count = (split: Split): number => stored.filter((pair) => pair.split === split).length;
    const snapshot = {
      digest: SNAPSHOT,
      fingerprint: 'c'.repeat(64),
      trainPairs: count(Split.TRAIN),
      devPairs: count(Split.DEV),
      testPairs: count(Split.TEST),
    };
    const payload = { runId, task: TASK, taskDigest: this.taskDigest, snapshot, seal: 1, ...change };
    await this.bus.publisher.publish({ type: 'pairs.sealed', payload, entity });
  }

  async cancel(runId: string): Promise<void> {
    const payload = { runId, task: TASK, taskDigest: this.taskDigest, reason: 'somebody asked' };
    await this.bus.publisher.publish({ type: 'run.cancelled', payload, entity: 'run' });
  }

  /** How many messages of a type the server holds; what it recognised as a repetition is not among them. */
  async stored(type: EventType): Promise<number> {
    const { state } = await this.bus.bus.jsm.streams.info('FACTS', { subjects_filter: `${type}.>` });
    return Object.values(state.subjects ?? {}).reduce((sum, count) => sum + count, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pairStore[Symbol.asyncDispose]();
    await this.bus[Symbol.asyncDispose]();
    await rm(this.folder, { recursive: true, force: true });
  }
}
