/** What the tests of this service share: it, on a real bus, beside a teacher and a pair store of a few lines. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { create } from '@bufbuild/protobuf';
import {
  type EventType,
  events,
  type Pair,
  type PayloadInit,
  type PayloadOf,
  type PromptSubmitted,
  patternOf,
} from '@understudy/contract';
import {
  ForgettingService,
  PairStoreService,
  type StatsResponse,
  StatsResponseSchema,
} from '@understudy/contract/pair-store';
import { PromptService, type RunState } from '@understudy/contract/prompt';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { openBlobStore } from '@understudy/service/blobs/open-blob-store';
import { Consumption } from '@understudy/service/bus/consume';
import { decodePayload } from '@understudy/service/bus/event';
import { type RunningService, startService } from '@understudy/service/lifecycle';
import { createClient, type RpcClient } from '@understudy/service/rpc/client';
import { RpcServer, rpcService } from '@understudy/service/rpc/server';
import { type TestBus, testBus } from '@understudy/service/testing';
import { taskJson } from '@understudy/task';
import { testTask } from '@understudy/task/testing';
import { definition } from './service.ts';

/**
 * Takes prompts off the bus and counts each once, as gateway and pair store together do.
 */
export class Answerer {
  readonly prompts = new Map<string, PromptSubmitted>();
  /** Pairs that came finished. */
  readonly imported = new Map<string, Pair>();
  /** Messages taken, repetitions included. */
  deliveries = 0;
  /** Times that somebody asked for counts. */
  looks = 0;
  declining = false;
  #paused: PromiseWithResolvers<void> | undefined;
  readonly #stats = new Map<string, StatsResponse>();
  readonly #consumption: Consumption;
  readonly #server: RpcServer;
  /** Ids that pair-store says are forgotten. */
  readonly forgotten = new Set<string>();

  private constructor(bus: TestBus) {
    this.#consumption = new Consumption(bus, 'teacher-gateway-nats', {
      maxBatch: 500,
      maxWaitMs: 5,
      onBatch: async (taken) => {
        await this.#paused?.promise;
        for (const { payload } of taken) this.#take(payload as PromptSubmitted);
      },
    });
    const unused = async () => Promise.reject(new Error('not part of this test'));
    this.#server = new RpcServer({ host: '127.0.0.1', port: 0, reflection: false, telemetry: bus.telemetry }, [
      rpcService(PairStoreService, {
        stats: async ({ runId }) => {
          this.looks += 1;
          return this.statsOf(runId);
        },
        getSnapshot: unused,
        findPairs: unused,
        importPairs: async ({ runId, pairs }) => {
          for (const pair of pairs) this.#imported(runId, pair);
          return { kept: pairs.length };
        },
        // biome-ignore lint/correctness/useYield: it only refuses
        streamPairs: async function* () {
          await unused();
        },
      }),
      rpcService(ForgettingService, {
        forget: unused,
        noteErasure: unused,
        listErasures: unused,
        listForgotten: () => this.#listForgotten(),
      }),
    ]);
  }

  async *#listForgotten() {
    yield { promptIds: Buffer.from([...this.forgotten].join(''), 'hex') };
  }

  static async start(bus: TestBus): Promise<Answerer> {
    const answerer = new Answerer(bus);
    await answerer.#server.listen();
    answerer.#consumption.start();
    return answerer;
  }

  get address(): string {
    return `127.0.0.1:${this.#server.port}`;
  }

  statsOf(runId: string): StatsResponse {
    const known = this.#stats.get(runId);
    if (known !== undefined) return known;
    const stats = create(StatsResponseSchema);
    this.#stats.set(runId, stats);
    return stats;
  }

  /** Leaves prompts on the bus until `resume`. */
  pause(): void {
    this.#paused ??= Promise.withResolvers();
  }

  resume(): void {
    this.#paused?.resolve();
    this.#paused = undefined;
  }

  async stop(): Promise<void> {
    this.resume();
    await this.#consumption.stop(1_000);
    await this.#server.stop(1_000);
  }

  #imported(runId: string, pair: Pair): void {
    const key = `${runId}:${pair.promptId}`;
    if (this.imported.has(key)) return;
    this.imported.set(key, pair);
    const stats = this.statsOf(runId);
    stats.answered += 1;
    stats.cached += 1;
  }

  #take(prompt: PromptSubmitted): void {
    this.deliveries += 1;
    const key = `${prompt.runId}:${prompt.promptId}`;
    if (this.prompts.has(key)) return;
    this.prompts.set(key, prompt);
    const stats = this.statsOf(prompt.runId);
    stats.teacherCalls += 1;
    if (this.declining) {
      stats.declined += 1;
      stats.declinesByReason.UNAVAILABLE = (stats.declinesByReason.UNAVAILABLE ?? 0) + 1;
    } else stats.answered += 1;
  }
}

/** A provisioned bus, blobs, an answerer, and any number of prompt services beside them. */
export class Stage implements AsyncDisposable {
  readonly folder: string;
  readonly bus: TestBus;
  readonly answerer: Answerer;
  readonly blobs: BlobStore;
  readonly env: NodeJS.ProcessEnv;

  private constructor(folder: string, bus: TestBus, answerer: Answerer, blobs: BlobStore, env: NodeJS.ProcessEnv) {
    this.folder = folder;
    this.bus = bus;
    this.answerer = answerer;
    this.blobs = blobs;
    this.env = env;
  }

  static async set(): Promise<Stage> {
    const folder = await mkdtemp(join(tmpdir(), 'understudy-prompt-'));
    const bus = await testBus();
    const answerer = await Answerer.start(bus);
    const BLOB_URL = pathToFileURL(join(folder, 'blobs')).href;
    const env = {
      NODE_ENV: 'test',
      LOG_LEVEL: process.env.TEST_LOG_LEVEL ?? 'fatal',
      NATS_URL: bus.server.url,
      PAIR_STORE_ADDRESS: answerer.address,
      DATA_DIR: folder,
      BLOB_URL,
      DRAIN_TIMEOUT_MS: '2000',
    };
    return new Stage(folder, bus, answerer, await openBlobStore({ DATA_DIR: folder, BLOB_URL }), env);
  }

  /** A prompt service in this process. */
  service(env: NodeJS.ProcessEnv = {}): Promise<RunningService> {
    return startService(definition, { ...this.env, ...env });
  }

  /** A JSONL source of distinct texts. */
  async source(name: string, prompts: number, more = ''): Promise<string> {
    const path = join(this.folder, name);
    const lines = Array.from({ length: prompts }, (_, index) => JSON.stringify({ text: `${name} ${index}` }));
    await writeFile(path, `${lines.join('\n')}\n${more}`);
    return path;
  }

  publish<T extends EventType>(type: T, entity: string, payload: PayloadInit<T>): Promise<void> {
    return this.bus.publisher.publish({ type, entity, payload });
  }

  /** All facts of a type and run that the bus has stored. */
  async facts<T extends EventType>(type: T, runId: string): Promise<PayloadOf<T>[]> {
    const { jsm, naming } = this.bus.bus;
    const stream = events[type].stream;
    const { state } = await jsm.streams.info(stream, { subjects_filter: patternOf(naming, type) });
    const found: PayloadOf<T>[] = [];
    for (let seq = state.first_seq; seq <= state.last_seq; seq += 1) {
      const message = await jsm.streams.getMessage(stream, { seq });
      if (message === null || !message.subject.startsWith(type)) continue;
      const payload = decodePayload(type, message.data);
      if ('runId' in payload && payload.runId === runId) found.push(payload);
    }
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.answerer.stop();
    await this.bus[Symbol.asyncDispose]();
    await this.blobs[Symbol.asyncDispose]();
    await rm(this.folder, { recursive: true, force: true });
  }
}

export type PromptClient = RpcClient<typeof PromptService>;

export const clientOf = ({ grpcPort }: { grpcPort: number }): PromptClient =>
  createClient(PromptService, { address: `127.0.0.1:${grpcPort}` });

/** A small valid task as ApplyTask takes it. */
export const taskOf = (name: string, change: Record<string, unknown> = {}): string =>
  taskJson(testTask({ name, budget: { calls: 100_000, usd: 0 }, ...change }));

/** The run once a condition holds, watched over RPC. */
export async function runWhen(
  client: PromptClient,
  runId: string,
  holds: (run: RunState) => boolean,
): Promise<RunState> {
  let last: RunState | undefined;
  for await (const { run } of client.watchRun({ runId })) {
    last = run;
    if (run !== undefined && holds(run)) return run;
  }
  throw new Error(
    `run ${runId} ended as ${JSON.stringify(last, (_, value) => (typeof value === 'bigint' ? Number(value) : value))}`,
  );
}
