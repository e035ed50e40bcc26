/** What the tests of this service stand in: a real bus, a fake teacher process, and a pair store that only remembers. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import {
  type Pair,
  Purpose,
  Source,
  type TeacherAnswered,
  type TeacherDeclined,
  type TeacherKind,
} from '@understudy/contract';
import { PairStoreService } from '@understudy/contract/pair-store';
import { TeacherGatewayService } from '@understudy/contract/teacher-gateway';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { FolderBlobStore } from '@understudy/service/blobs/folder';
import { hear } from '@understudy/service/bus/broadcast';
import { Consumption } from '@understudy/service/bus/consume';
import { createClient } from '@understudy/service/rpc/client';
import { RpcServer, rpcService } from '@understudy/service/rpc/server';
import { notFound } from '@understudy/service/rpc/status';
import { allHandled, freePort, type TestBus, testBus } from '@understudy/service/testing';
import { type CompiledTask, compileTask, parseTask, type RenderedPrompt, taskJson } from '@understudy/task';
import { clearOfMidnight } from './testing-midnight.ts';

const root = resolve(import.meta.dirname, '../..');
const pollMs = 20;

export const until = async (condition: () => boolean | Promise<boolean>): Promise<void> => {
  while (!(await condition())) await new Promise((wake) => setTimeout(wake, pollMs));
};

/** Prints lines until one matches; rejects when the process ends before. */
const lineOf = async (child: ChildProcess, pattern: RegExp): Promise<RegExpExecArray> => {
  for await (const line of createInterface({ input: child.stdout! })) {
    const match = pattern.exec(line);
    if (match) return match;
  }
  throw new Error(`${child.spawnargs.join(' ')} ended before it printed ${pattern}`);
};

/** A process of ours, killed at the end. */
class Process implements AsyncDisposable {
  readonly child: ChildProcess;

  constructor(args: string[], env: NodeJS.ProcessEnv = {}) {
    this.child = spawn(process.execPath, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, 'exit');
    this.child.kill(signal);
    await ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}

export interface FakeStats {
  calls: number;
  distinct: number;
  repeated: Record<string, number>;
  inFlight: number;
  maxInFlight: number;
  firstCallMs: number;
  lastCallMs: number;
  longestPauseMs: number;
  charged: { seenCalls: number; unseenCalls: number; inputTokens: number; outputTokens: number };
}

/** Of `test/fakes/batches.ts`, as far as it is looked at here. */
export interface BatchStats {
  uploads: number;
  batches: number;
  held: string[];
  repeated: Record<string, number>;
  bodies: object[];
}

/** The fake teacher's process, over HTTP and on the bus (`models.fake`). */
export class Fake extends Process {
  #port = 0;

  static async start(natsUrl: string): Promise<Fake> {
    const fake = new Fake([join(root, 'test/fakes/teacher.ts'), JSON.stringify({ natsUrl })]);
    fake.#port = Number((await lineOf(fake.child, /^listening on (\d+)$/))[1]);
    return fake;
  }

  get baseUrl(): string {
    return `http://127.0.0.1:${this.#port}/v1`;
  }

  async stats(): Promise<FakeStats> {
    return (await (await fetch(`http://127.0.0.1:${this.#port}/stats`)).json()) as FakeStats;
  }

  async behave(behaviour: object): Promise<void> {
    await fetch(`http://127.0.0.1:${this.#port}/behave`, { method: 'POST', body: JSON.stringify(behaviour) });
  }

  async batches(): Promise<BatchStats> {
    return (await (await fetch(`http://127.0.0.1:${this.#port}/batches`)).json()) as BatchStats;
  }

  async reset(): Promise<void> {
    await this.behave({});
    await fetch(`http://127.0.0.1:${this.#port}/reset`, { method: 'POST' });
  }
}

/** Remembers every answer that it consumed, and finds it again; nothing else of a pair store is asked for here. */
export class RememberingPairStore implements AsyncDisposable {
  readonly pairs = new Map<string, Pair>();
  readonly port: number;
  #server: RpcServer | undefined;
  #consumption: Consumption | undefined;
  readonly #bus: TestBus;
  lookups = 0;
  /** Waited for before pairs from elsewhere are kept. */
  importing: (() => Promise<void>) | undefined;

  constructor(bus: TestBus, port: number) {
    this.#bus = bus;
    this.port = port;
  }

  /** Begins to consume answers. */
  consume(): void {
    this.#consumption = new Consumption(this.#bus, 'pair-store-answers', {
      maxBatch: 500,
      maxWaitMs: 20,
      onBatch: async (events) => {
        for (const { type, payload } of events) {
          if (type !== 'teacher.answered') continue;
          const { pair } = payload as TeacherAnswered;
          this.pairs.set(pair!.pairId, pair!);
        }
      },
    });
    this.#consumption.start();
  }

  /** Lets answers pile up. */
  async lag(): Promise<void> {
    await this.#consumption?.stop(100);
    this.#consumption = undefined;
  }

  /** Begins to answer lookups. */
  async open(): Promise<void> {
    const unasked = () => {
      throw notFound('not asked for here');
    };
    const routes = rpcService(PairStoreService, {
      findPairs: async ({ pairIds }) => {
        this.lookups += 1;
        return { pairs: pairIds.flatMap((id) => this.pairs.get(id) ?? []) };
      },
      getSnapshot: unasked,
      stats: unasked,
      importPairs: async ({ pairs }) => {
        await this.importing?.();
        for (const pair of pairs) this.pairs.set(pair.pairId, pair);
        return { kept: pairs.length };
      },
      streamPairs: unasked,
    });
    const { telemetry } = this.#bus;
    this.#server = new RpcServer({ host: '127.0.0.1', port: this.port, reflection: false, telemetry }, [routes]);
    await this.#server.listen();
  }

  async close(): Promise<void> {
    await this.#server?.stop(100);
    this.#server = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lag();
    await this.close();
  }
}

export interface RecordedSpan {
  name: string;
  traceId: string;
  spanId: string;
  parentSpanId: string;
  attributes: Record<string, unknown>;
}

/** Where a gateway writes its spans. */
class SpanFolder {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  async spans(): Promise<RecordedSpan[]> {
    const lines = (await readFile(join(this.path, 'teacher-gateway.jsonl'), 'utf8')).trim().split('\n');
    return lines.map((line) => JSON.parse(line));
  }
}

export interface TaskOptions {
  name: string;
  teacher: object;
  output?: object;
  budget?: { calls: number; usd: number };
  live?: object;
  examples?: object[];
}

const labels = ['billing', 'shipping', 'access'];

/** A bus, a pair store, a fake teacher, and as many gateways as a test starts. */
export class Stage implements AsyncDisposable {
  readonly bus: TestBus;
  readonly fake: Fake;
  readonly pairStore: RememberingPairStore;
  readonly answered: TeacherAnswered[] = [];
  readonly declined: TeacherDeclined[] = [];
  readonly #blobs: BlobStore;
  readonly #folder: string;
  readonly #gateways = new Set<Process>();
  readonly #stopHearing: (() => Promise<void>)[];

  private constructor(bus: TestBus, fake: Fake, pairStore: RememberingPairStore, blobs: BlobStore, folder: string) {
    this.bus = bus;
    this.fake = fake;
    this.pairStore = pairStore;
    this.#blobs = blobs;
    this.#folder = folder;
    this.#stopHearing = [
      hear(bus.bus, bus.telemetry, 'teacher.answered', (fact) => this.answered.push(fact)),
      hear(bus.bus, bus.telemetry, 'teacher.declined', (fact) => this.declined.push(fact)),
    ];
  }

  static async start(): Promise<Stage> {
    await clearOfMidnight();
    const bus = await testBus();
    const folder = await mkdtemp(join(tmpdir(), 'understudy-gateway-'));
    const [fake, blobs, port] = await Promise.all([
      Fake.start(bus.server.url),
      FolderBlobStore.open(join(folder, 'blobs')),
      freePort(),
    ]);
    const pairStore = new RememberingPairStore(bus, port);
    await pairStore.open();
    pairStore.consume();
    return new Stage(bus, fake, pairStore, blobs, folder);
  }

  /** A gateway as a process of its own; resolves when it is ready. */
  async gateway(env: NodeJS.ProcessEnv = {}): Promise<{ process: Process; grpcPort: number }> {
    const grpcPort = await freePort();
    const gateway = new Process([join(import.meta.dirname, 'main.ts')], {
      NATS_URL: this.bus.server.url,
      BLOB_URL: pathToFileURL(join(this.#folder, 'blobs')).href,
      PAIR_STORE_ADDRESS: `127.0.0.1:${this.pairStore.port}`,
      TEACHER_KINDS: 'openai,nats',
      TEACHER_ALLOWED_ADDRESSES: 'loopback',
      GRPC_PORT: String(grpcPort),
      ...env,
    });
    this.#gateways.add(gateway);
    await lineOf(gateway.child, /"msg":"ready"/);
    gateway.child.stdout!.resume();
    if (process.env.TEST_LOG_LEVEL) gateway.child.stdout!.pipe(process.stderr);
    return { process: gateway, grpcPort };
  }

  /** A folder for the spans of a gateway. */
  async folder(): Promise<SpanFolder> {
    return new SpanFolder(await mkdtemp(join(this.#folder, 'spans-')));
  }

  /** Where everything of this stage that is a file lies. */
  get path(): string {
    return this.#folder;
  }

  client(grpcPort: number) {
    return createClient(TeacherGatewayService, { address: `127.0.0.1:${grpcPort}` });
  }

  async apply(options: TaskOptions): Promise<CompiledTask> {
    const task = parseTask(
      JSON.stringify({
        input: { fields: ['text'] },
        prompt: { instructions: 'Which team handles this message?', template: '{{text}}', maxCharacters: 200 },
        output: {
          schema: {
            type: 'object',
            properties: { team: { enum: labels } },
            required: ['team'],
            additionalProperties: false,
          },
        },
        goal: { agreement: 0.9 },
        budget: { calls: 10_000, usd: 100 },
        ...options,
      }),
    );
    const compiled = compileTask(task);
    await this.#blobs.put('tasks', new TextEncoder().encode(taskJson(task)));
    return compiled;
  }

  async submit(
    compiled: CompiledTask,
    runId: string,
    texts: readonly string[],
    more: {
      purpose?: Purpose;
      sampleNumber?: number;
      batch?: number;
      again?: string;
      traceparent?: string;
      change?: object;
    } = {},
  ): Promise<RenderedPrompt[]> {
    const prompts = texts.map((text) => compiled.renderPrompt({ text }));
    const { purpose = Purpose.LABEL, sampleNumber = 0, batch = 1, again = '', traceparent } = more;
    const { task, digest } = compiled;
    await Promise.all(
      prompts.map(({ promptId, inputJson }) =>
        this.bus.publisher.publish({
          type: 'prompt.submitted',
          entity: `${promptId}:${sampleNumber}:${batch}${again}`,
          route: task.teacher.kind,
          traceparent,
          payload: {
            ...{ runId, task: task.name, taskDigest: digest, promptId, inputJson, purpose, sampleNumber, batch },
            source: Source.RANDOM,
            weight: 1,
            ...more.change,
          },
        }),
      ),
    );
    return prompts;
  }

  answeredIn(runId: string): TeacherAnswered[] {
    return this.answered.filter((fact) => fact.runId === runId);
  }

  declinedIn(runId: string): TeacherDeclined[] {
    return this.declined.filter((fact) => fact.runId === runId);
  }

  /** Resolves when so many prompts of a run have an outcome. */
  outcomes(runId: string, count: number): Promise<void> {
    return until(() => this.answeredIn(runId).length + this.declinedIn(runId).length >= count);
  }

  /** Resolves when every prompt on the bus has been given its ending. */
  allHandled(kind: TeacherKind): Promise<void> {
    return allHandled(this.bus.bus, `teacher-gateway-${kind}`);
  }

  async stopGateways(): Promise<void> {
    await Promise.all([...this.#gateways].map((gateway) => gateway.kill()));
    this.#gateways.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopGateways();
    await Promise.all(this.#stopHearing.map((stop) => stop()));
    await this.pairStore[Symbol.asyncDispose]();
    await this.fake.kill();
    await this.bus[Symbol.asyncDispose]();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** Distinct texts. */
export const texts = (count: number, about = 'parcel'): string[] =>
  Array.from({ length: count }, (_, index) => `${about} number ${index} has not come`);
