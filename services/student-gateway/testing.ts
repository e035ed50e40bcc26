/** What several tests of this gateway share: tasks, trained students, a bus to deploy on, and a teacher that obeys. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { create, type MessageInitShape, toJsonString } from '@bufbuild/protobuf';
import { DeploymentSchema, type Stage } from '@understudy/contract/deployer';
import { type AskRequest, type AskResponseSchema, TeacherGatewayService } from '@understudy/contract/teacher-gateway';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { FolderBlobStore } from '@understudy/service/blobs/folder';
import type { BusConnection } from '@understudy/service/bus/connection';
import { type RunningService, startService } from '@understudy/service/lifecycle';
import { RpcServer, rpcService } from '@understudy/service/rpc/server';
import type { Key } from '@understudy/service/signatures/keys';
import { keepSigned } from '@understudy/service/signatures/statements';
import { Telemetry } from '@understudy/service/telemetry';
import { freePort, type TestBus } from '@understudy/service/testing';
import { type ExportedStudent, policyJson, reportStatement, studentStatement } from '@understudy/student';
import { LABELS, smallStudent } from '@understudy/student/testing';
import { parseTask, type Task, taskDigest, taskJson } from '@understudy/task';
import OpenAI from 'openai';
import { definition } from './service.ts';

export { LABELS } from '@understudy/student/testing';

/** A task that small students can answer; the template joins all of its fields. */
export const taskOf = (name: string, overrides: Partial<Task> = {}, fields: readonly string[] = ['text']): Task =>
  parseTask(
    JSON.stringify({
      name,
      input: { fields },
      prompt: {
        instructions: 'Say what this message to a help desk is about.',
        template: fields.map((field) => `{{${field}}}`).join('\n'),
        maxCharacters: 200,
      },
      output: {
        schema: {
          type: 'object',
          properties: { topic: { enum: LABELS } },
          required: ['topic'],
          additionalProperties: false,
        },
      },
      teacher: { kind: 'nats', subject: 'models.help-desk', model: 'fake' },
      budget: { calls: 10, usd: 0 },
      goal: { agreement: 0.9 },
      ...overrides,
    }),
  );

const trained = new Map<number, Promise<ExportedStudent>>();

/** A really trained student of the help desk; another seed is another student. */
export const studentOf = (seed: number): Promise<ExportedStudent> => {
  const made = trained.get(seed) ?? smallStudent({ seed, threads: 1 });
  trained.set(seed, made);
  return made;
};

export interface DeploymentPlan {
  task: Task;
  generation: number;
  /** Seed of the student; without it the teacher answers everything. */
  seed?: number;
  /** From which confidence on the student answers; 0 = always, above 1 = never. */
  threshold?: number;
  /** In the place of the student's archive, under its own digest; the policy stays that of the student. */
  archive?: Uint8Array;
  /** Of the student's answers. */
  auditShare?: number;
  /** A student on its way; its archive as above. */
  challenger?: Beside;
  /** Signs student and report. */
  key?: Key;
}

export interface Beside {
  seed: number;
  stage: Stage;
  share: number;
  auditShare: number;
  archive?: Uint8Array;
}

/** Puts everything that a deployment names into the blob store, and the deployment into the bucket. */
export const deploy = async (bus: BusConnection, blobs: BlobStore, plan: DeploymentPlan): Promise<string> => {
  const { task, generation, seed, threshold = 0, auditShare = 0, challenger, key } = plan;
  await blobs.put('tasks', Buffer.from(taskJson(task)));
  const none = { studentDigest: '', policyDigest: '' };
  const digests = seed === undefined ? none : await putStudent(blobs, seed, threshold, plan.archive);
  const deployment = create(DeploymentSchema, {
    task: task.name,
    taskDigest: taskDigest(task),
    ...digests,
    generation: BigInt(generation),
    servingGeneration: 1n,
    auditShare,
    challenger: challenger && {
      ...challenger,
      ...(await putStudent(blobs, challenger.seed, 0, challenger.archive)),
      taskDigest: taskDigest(task),
      generation: BigInt(generation),
    },
    since: { seconds: 1_800_000_000n },
    reportDigest: 'e'.repeat(64),
    runId: 'run',
  });
  await keepSigned(blobs, key, studentStatement(deployment));
  await keepSigned(blobs, key, reportStatement(deployment, true));
  const bucket = await bus.bucket('deployments');
  await bucket.put(task.name, toJsonString(DeploymentSchema, deployment));
  return digests.studentDigest;
};

const putStudent = async (blobs: BlobStore, seed: number, threshold: number, archive?: Uint8Array) => {
  const student = await studentOf(seed);
  const studentDigest = await blobs.put('students', archive ?? student.archive);
  const heads = [{ name: 'topic', temperature: 1 }];
  const policy = { version: 2 as const, studentDigest: student.digest, heads, threshold };
  return { studentDigest, policyDigest: await blobs.put('policies', Buffer.from(policyJson(policy))) };
};

/** A folder that is gone afterwards. */
export const temporaryFolder = async (): Promise<{ path: string } & AsyncDisposable> => {
  const path = await mkdtemp(join(tmpdir(), 'understudy-gateway-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
};

/** Polls until it gives something other than undefined or false. */
export const eventually = async <T>(look: () => Promise<T> | T): Promise<Exclude<T, undefined | false>> => {
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found as Exclude<T, undefined | false>;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};

/** Starts a killed server again and waits until the test itself can use it. */
export const restarted = async ({ server, bus: own }: TestBus) => {
  const statuses = own.nc.status();
  await server.start();
  for await (const { type } of statuses) if (type === 'reconnect') break;
  await eventually(() =>
    own.jsm.streams.info('KV_deployments').then(
      () => true,
      () => false,
    ),
  );
};

/** A gateway that runs inside the test, with a client of the official SDK. */
export class TestGateway implements AsyncDisposable {
  readonly url: string;
  readonly openai: OpenAI;
  readonly running: RunningService;
  readonly telemetry: Telemetry;
  readonly blobs: BlobStore;
  #stopped: Promise<void> | undefined;

  private constructor(port: number, running: RunningService, telemetry: Telemetry, blobs: BlobStore) {
    this.url = `http://127.0.0.1:${port}`;
    this.openai = new OpenAI({ baseURL: `${this.url}/v1`, apiKey: 'none-is-asked-for', maxRetries: 0 });
    this.running = running;
    this.telemetry = telemetry;
    this.blobs = blobs;
  }

  static async start(natsUrl: string, folder: string, env: NodeJS.ProcessEnv = {}): Promise<TestGateway> {
    const port = await freePort();
    const blobFolder = join(folder, 'blobs');
    const blobs = await FolderBlobStore.open(blobFolder);
    const telemetry = new Telemetry({ service: 'student-gateway', logLevel: process.env.TEST_LOG_LEVEL || 'silent' });
    const running = await startService(
      definition,
      {
        NATS_URL: natsUrl,
        DATA_DIR: folder,
        BLOB_URL: pathToFileURL(blobFolder).href,
        HTTP_PORT: String(port),
        DRAIN_TIMEOUT_MS: '5000',
        ...env,
      },
      { telemetry },
    );
    return new TestGateway(port, running, telemetry, blobs);
  }

  /** Resolves when this generation of the task serves. */
  async serves(task: string, generation: number): Promise<void> {
    await eventually(async () => (await this.versions(task)).includes(String(generation)));
  }

  async versions(task: string): Promise<string[]> {
    const response = await fetch(`${this.url}/v2/models/${task}`);
    return response.ok ? ((await response.json()) as { versions: string[] }).versions : [];
  }

  post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(`${this.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
    });
  }

  /** Value of one series of the metrics, summed over its labels. */
  async metric(name: string): Promise<number> {
    const metric = await this.telemetry.metrics.getSingleMetric(name)!.get();
    return metric.values.reduce((sum, { value }) => sum + value, 0);
  }

  stop(): Promise<void> {
    this.#stopped ??= this.running.stop();
    return this.#stopped;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

type Outcome = MessageInitShape<typeof AskResponseSchema>['outcome'];

/** A teacher gateway on a port of its own that answers as it is told. */
export class FakeTeacher implements AsyncDisposable {
  readonly asked: AskRequest[] = [];
  /** What it does with a question. */
  answers: (request: AskRequest, signal: AbortSignal) => Promise<Outcome> = async (request) =>
    pairOf(request, 'parcel');
  readonly #server: RpcServer;

  private constructor(telemetry: Telemetry) {
    const service = rpcService(TeacherGatewayService, {
      ask: async (request, { signal }) => {
        this.asked.push(request);
        return { outcome: await this.answers(request, signal) };
      },
      write: async () => ({}),
      getLedger: async () => ({}),
      listTeachers: async () => ({}),
      estimateCost: async () => ({}),
      noteModel: async () => ({}),
      accountBatch: async () => ({}),
    });
    this.#server = new RpcServer({ host: '127.0.0.1', port: 0, reflection: false, telemetry }, [service]);
  }

  static async start(): Promise<FakeTeacher> {
    const teacher = new FakeTeacher(new Telemetry({ service: 'fake-teacher', logLevel: 'silent' }));
    await teacher.#server.listen();
    return teacher;
  }

  get address(): string {
    return `127.0.0.1:${this.#server.port}`;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#server.stop(0);
  }
}

/** A pair as a teacher gateway gives it. */
export const pairOf = ({ inputJson }: AskRequest, label: string, probabilities: number[] = []): Outcome => ({
  case: 'pair',
  value: {
    pairId: 'd'.repeat(64),
    inputJson,
    answerJson: JSON.stringify({ topic: label }),
    soft: probabilities.length > 0 ? [{ head: 'topic', probabilities }] : [],
    usage: { inputTokens: 12n, outputTokens: 3n },
  },
});
