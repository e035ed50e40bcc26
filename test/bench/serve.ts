/**
 * How fast a student is served: the student gateway as its own process on a real bus, traffic recording on, nothing
 * cached, 10,000 distinct inputs, one promotion in the middle of each measurement, the load in a process of its own;
 * against the student's bare session in the same run.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { FolderBlobStore } from '@understudy/service/blobs/folder';
import { type BusConnection, connectBus } from '@understudy/service/bus/connection';
import { provision } from '@understudy/service/bus/provision';
import { Telemetry } from '@understudy/service/telemetry';
import { freePort, NatsServer } from '@understudy/service/testing';
import type { ExportedStudent } from '@understudy/student';
import { LoadGenerator } from './load-generator.ts';
import { report } from './report.ts';
import { bareSessionPerSecond } from './serve-bare.ts';
import { deploy, studentOf, task } from './serve-deployment.ts';
import { mails } from './serve-inputs.ts';
import type { LoadPlan, LoadResult } from './serve-load.ts';

const inputs = 10_000;
const trainTexts = 1_500;
/** A JavaScript process needs a few seconds under load until all of its code is compiled. */
const warmUpSeconds = 5;
const secondsPerPhase = 15;
const connections = 64;
const openPerSecond = 2_000;
const maxOpenConnections = 512;
const pollMs = 20;
const maxFailuresShown = 10;

/** The gateway as a process, listening and serving. */
const startGateway = async (natsUrl: string, folder: string): Promise<{ child: ChildProcess; url: string }> => {
  const port = await freePort();
  const main = resolve(import.meta.dirname, '../../services/student-gateway/main.ts');
  const child = spawn(process.execPath, [main], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: {
      PATH: process.env.PATH,
      NATS_URL: natsUrl,
      DATA_DIR: folder,
      BLOB_URL: pathToFileURL(join(folder, 'blobs')).href,
      HTTP_PORT: String(port),
    },
  });
  return { child, url: `http://127.0.0.1:${port}` };
};

/** Runs one measurement; halfway through, `promote` is called. */
const load = async (plan: LoadPlan, promote: () => Promise<void>): Promise<LoadResult> => {
  await using generator = new LoadGenerator();
  const halfway = setTimeout(() => void promote(), plan.seconds * 500);
  return await generator.run(plan).finally(() => clearTimeout(halfway));
};

/** Bus, blobs and gateway of one benchmark run. */
class Platform implements AsyncDisposable {
  readonly #nats: NatsServer;
  readonly #bus: BusConnection;
  readonly #blobs: FolderBlobStore;
  readonly #folder: string;
  readonly #students: readonly ExportedStudent[];
  #gateway: { child: ChildProcess; url: string } | undefined;
  /** Of the student that serves; each promotion is one more. */
  generation = 0;

  private constructor(
    nats: NatsServer,
    bus: BusConnection,
    blobs: FolderBlobStore,
    folder: string,
    students: readonly ExportedStudent[],
  ) {
    this.#nats = nats;
    this.#bus = bus;
    this.#blobs = blobs;
    this.#folder = folder;
    this.#students = students;
  }

  /** Starts all of it, the first student serving. */
  static async start(students: readonly ExportedStudent[]): Promise<Platform> {
    const folder = await mkdtemp(join(tmpdir(), 'understudy-bench-'));
    const nats = await NatsServer.start();
    const { log } = new Telemetry({ service: 'bench', logLevel: 'warn' });
    const bus = await connectBus({ url: nats.url, name: 'bench', naming: { prefix: '' }, log });
    await provision(bus);
    const blobs = await FolderBlobStore.open(join(folder, 'blobs'));
    const platform = new Platform(nats, bus, blobs, folder, students);
    await platform.promote();
    platform.#gateway = await startGateway(nats.url, folder);
    await platform.#serves();
    return platform;
  }

  /** Deploys the other student. */
  async promote(): Promise<void> {
    this.generation += 1;
    await deploy(this.#bus, this.#blobs, this.#students[this.generation % this.#students.length]!, this.generation);
  }

  /** Puts load on the gateway and promotes in the middle of it. */
  async measure(plan: Omit<LoadPlan, 'url'>): Promise<LoadResult> {
    process.stdout.write(`${plan.kind} load for ${plan.seconds} s\n`);
    const result = await load({ ...plan, url: this.#gateway!.url }, () => this.promote());
    await this.#serves();
    return result;
  }

  /** Stops the gateway, so that it publishes what it holds. @returns records on the bus */
  async stopGateway(): Promise<number> {
    const { child } = this.#gateway!;
    child.kill('SIGTERM');
    await new Promise((done) => child.once('exit', done));
    return (await this.#bus.jsm.streams.info('TRAFFIC')).state.messages;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#gateway?.child.kill('SIGKILL');
    await this.#bus.close();
    await this.#nats[Symbol.asyncDispose]();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #serves(): Promise<void> {
    const { child, url } = this.#gateway!;
    for (;;) {
      if (child.exitCode !== null) throw new Error(`the student gateway ended with ${child.exitCode}`);
      const response = await fetch(`${url}/v2/models/${task.name}`).catch(() => undefined);
      const served = response?.ok ? ((await response.json()) as { versions: string[] }).versions : [];
      if (served.includes(String(this.generation))) return;
      await new Promise((done) => setTimeout(done, pollMs));
    }
  }
}

const percent = (share: number) => `${(share * 100).toFixed(0)}%`;
const milliseconds = (value: number) => `${value.toFixed(1)} ms`;
const grouped = (value: number) => Math.round(value).toLocaleString('en');

export const run = async (): Promise<void> => {
  process.stdout.write(`training two students on ${trainTexts} mails\n`);
  const texts = await mails(inputs);
  const train = texts.slice(0, trainTexts);
  const students = [await studentOf(train, 1), await studentOf(train, 2)];
  const bare = await bareSessionPerSecond(
    students[0]!.archive,
    texts.map(({ text }) => text),
  );
  const bodies = texts.map(({ text }) =>
    JSON.stringify({ model: task.name, messages: [{ role: 'user', content: text }] }),
  );
  await using platform = await Platform.start(students);
  const expected = '"answerer":"student"';
  const closedLoop = { kind: 'closed' as const, bodies, connections, perSecond: 0, seed: 0, expected };
  const openLoop = {
    kind: 'open' as const,
    bodies,
    connections: maxOpenConnections,
    perSecond: openPerSecond,
    seed: 1,
    expected,
  };
  const warmUp = await platform.measure({ ...closedLoop, seconds: warmUpSeconds });
  const closed = await platform.measure({ ...closedLoop, seconds: secondsPerPhase });
  const open = await platform.measure({ ...openLoop, seconds: secondsPerPhase });
  const recorded = await platform.stopGateway();
  const phases = [warmUp, closed, open];
  const answered = phases.reduce((sum, phase) => sum + phase.answered, 0);
  const failures = phases.flatMap((phase) => phase.failures);
  for (const failure of failures.slice(0, maxFailuresShown)) process.stderr.write(`failed: ${failure}\n`);
  const rows: [string, string][] = [
    ['student', `${grouped(students[0]!.archive.length / 1024)} KiB`],
    ['bare session, one text at a time', `${grouped(bare)}/s`],
    [
      `closed loop, ${connections} connections`,
      `${grouped(closed.perSecond)}/s (${percent(closed.perSecond / bare)} of the bare session)`,
    ],
    ['  latency p50, p99', `${milliseconds(closed.p50Ms)}, ${milliseconds(closed.p99Ms)}`],
    [`open loop, ${grouped(openPerSecond)}/s at random times`, `${grouped(open.perSecond)}/s`],
    ['  latency from when due p50, p99, max', [open.p50Ms, open.p99Ms, open.maxMs].map(milliseconds).join(', ')],
    ['  of it, sent late by the generator, p99', milliseconds(open.p99SentLateMs)],
    ['promotions under load', String(platform.generation - 1)],
    ['answered, failed', `${grouped(answered)}, ${failures.length}`],
    ['traffic records on the bus', grouped(recorded)],
  ];
  report('serve', rows, {
    requests_per_second: Math.round(closed.perSecond),
    p50_ms: Number(open.p50Ms.toFixed(2)),
    p99_ms: Number(open.p99Ms.toFixed(2)),
    bare_session_per_second: Math.round(bare),
    failed_requests: failures.length,
  });
  if (failures.length > 0) process.exitCode = 1;
};

if (import.meta.main) await run();
