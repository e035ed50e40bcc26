/**
 * What passing a call through costs: requests at random times, 500 a second, to a fake teacher directly and to the same
 * one behind a student gateway, in turns, each turn with the same arrivals; once more with recording on. Gateway, teacher, load and bus share the machine.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { FolderBlobStore } from '@understudy/service/blobs/folder';
import { connectBus } from '@understudy/service/bus/connection';
import { provision } from '@understudy/service/bus/provision';
import { Telemetry } from '@understudy/service/telemetry';
import { freePort, NatsServer } from '@understudy/service/testing';
import { texts } from '../fakes/answers.ts';
import { FakeTeacher } from '../harness/fake-teacher.ts';
import { LoadGenerator } from './load-generator.ts';
import { median, report } from './report.ts';
import type { LoadResult } from './serve-load.ts';

const perSecond = 500;
const rounds = 7;
const secondsPerTurn = 6;
const warmUpSeconds = 8;
const inputs = 5_000;
const connections = 128;
const pollMs = 20;
/** Linux counts processor time in hundredths of a second. */
const msPerTick = 10;
/** A prompt as teams write them: some hundred words of rules. */
const instructions = 'Decide which team handles the message below, by the rules of the support handbook. '.repeat(24);
const schema = {
  type: 'object',
  properties: { team: { enum: ['billing', 'shipping', 'access'] } },
  required: ['team'],
  additionalProperties: false,
};

const bodies = (): string[] =>
  texts(inputs).map((content) =>
    JSON.stringify({
      model: 'large',
      messages: [
        { role: 'system', content: instructions },
        { role: 'user', content },
      ],
      response_format: { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema } },
      temperature: 0,
    }),
  );

/** A gateway in front of the teacher, as a process of its own. */
class Gateway implements AsyncDisposable {
  readonly url: string;
  readonly #child: ChildProcess;

  private constructor(url: string, child: ChildProcess) {
    this.url = url;
    this.#child = child;
  }

  static async start(natsUrl: string, folder: string, upstream: string, recording: boolean): Promise<Gateway> {
    const port = await freePort();
    const main = resolve(import.meta.dirname, '../../services/student-gateway/main.ts');
    const env = {
      PATH: process.env.PATH,
      NATS_URL: natsUrl,
      DATA_DIR: folder,
      BLOB_URL: pathToFileURL(join(folder, 'blobs')).href,
      HTTP_PORT: String(port),
      UPSTREAM_BASE_URL: upstream,
      RECORD_CALLS: recording ? '1' : '0',
    };
    const child = spawn(process.execPath, [main], { stdio: ['ignore', 'ignore', 'inherit'], env });
    const gateway = new Gateway(`http://127.0.0.1:${port}`, child);
    await gateway.#listens();
    return gateway;
  }

  async #listens(): Promise<void> {
    for (;;) {
      if (this.#child.exitCode !== null) throw new Error(`the student gateway ended with ${this.#child.exitCode}`);
      const response = await fetch(`${this.url}/v2/health/live`).catch(() => undefined);
      if (response?.ok) return;
      await new Promise((done) => setTimeout(done, pollMs));
    }
  }

  /** Processor time that it has used, in ms; undefined where the system does not tell. */
  cpuMs(): number | undefined {
    const path = `/proc/${this.#child.pid}/stat`;
    if (!existsSync(path)) return undefined;
    const fields = readFileSync(path, 'utf8').split(') ')[1]!.split(' ');
    return (Number(fields[11]) + Number(fields[12])) * msPerTick;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    await ended;
  }
}

type Arm = 'direct' | 'proxied' | 'recorded';

/** Turns of all arms, interleaved; the order changes from round to round. */
const measure = async (urls: Record<Arm, string>): Promise<Record<Arm, LoadResult[]>> => {
  await using generator = new LoadGenerator();
  const results: Record<Arm, LoadResult[]> = { direct: [], proxied: [], recorded: [] };
  const arms = Object.keys(urls) as Arm[];
  const plan = { kind: 'open' as const, bodies: bodies(), connections, perSecond, expected: '"usage"' };
  for (const arm of arms) await generator.run({ ...plan, url: urls[arm], seconds: warmUpSeconds, seed: 0 });
  for (let round = 1; round <= rounds; round += 1) {
    process.stdout.write(`round ${round} of ${rounds}\n`);
    for (const arm of arms) {
      results[arm].push(await generator.run({ ...plan, url: urls[arm], seconds: secondsPerTurn, seed: round }));
    }
    arms.push(arms.shift()!);
  }
  return results;
};

const ms = (value: number): string => `${value.toFixed(2)} ms`;

/** Median over the rounds of a latency's percentile. */
const middle = (results: readonly LoadResult[], percentile: number): number =>
  median(results.map(({ percentilesMs }) => percentilesMs[percentile - 1]!));

const row = (results: readonly LoadResult[]): string =>
  [50, 90, 99, 100].map((percentile) => ms(middle(results, percentile))).join(', ');

/** Median over the rounds of what one arm's percentile is above the other's. */
const added = (arm: readonly LoadResult[], direct: readonly LoadResult[], percentile: number): number =>
  median(
    arm.map(
      ({ percentilesMs }, round) => percentilesMs[percentile - 1]! - direct[round]!.percentilesMs[percentile - 1]!,
    ),
  );

export const run = async (): Promise<void> => {
  const folder = await mkdtemp(join(tmpdir(), 'understudy-bench-'));
  await using nats = await NatsServer.start();
  const bus = await connectBus({
    url: nats.url,
    name: 'bench',
    naming: { prefix: '' },
    log: new Telemetry({ service: 'bench', logLevel: 'warn' }).log,
  });
  await provision(bus);
  await FolderBlobStore.open(join(folder, 'blobs'));
  await using teacher = await FakeTeacher.start();
  const start = (name: string, recording: boolean) =>
    Gateway.start(nats.url, join(folder, name), teacher.baseUrl, recording);
  let results: Record<Arm, LoadResult[]>;
  let cpuMs: Record<'proxied' | 'recorded', number | undefined>;
  {
    await using proxied = await start('proxied', false);
    await using recorded = await start('recorded', true);
    const before = [proxied.cpuMs(), recorded.cpuMs()];
    results = await measure({
      direct: `http://127.0.0.1:${teacher.port}`,
      proxied: proxied.url,
      recorded: recorded.url,
    });
    const used = [proxied.cpuMs(), recorded.cpuMs()].map((ms, arm) => ms !== undefined && ms - before[arm]!);
    cpuMs = { proxied: used[0] || undefined, recorded: used[1] || undefined };
  }
  const observed = (await bus.jsm.streams.info('TRAFFIC')).state.messages;
  const { direct, proxied, recorded } = results;
  const failures = Object.entries(results).flatMap(([arm, turns]) =>
    turns.flatMap((turn) => turn.failures.map((failure) => `${arm}: ${failure}`)),
  );
  const requests = rounds * secondsPerTurn * perSecond;
  const passed = requests + warmUpSeconds * perSecond;
  const cpuUs = (arm: 'proxied' | 'recorded') => (cpuMs[arm] === undefined ? null : (cpuMs[arm] * 1_000) / passed);
  const rows: [string, string][] = [
    [
      'load',
      `${perSecond}/s at random times, ${rounds} rounds of ${secondsPerTurn} s each way, about ${requests} requests`,
    ],
    ['latency from when due p50, p90, p99, max (medians of rounds)', ''],
    ['  teacher directly', row(direct)],
    ['  passed through', row(proxied)],
    ['  passed through and recorded', row(recorded)],
    ['added by passing through p50, p99', [50, 99].map((at) => ms(added(proxied, direct, at))).join(', ')],
    ['added with recording p50, p99', [50, 99].map((at) => ms(added(recorded, direct, at))).join(', ')],
    [
      'processor time of the gateway a call, without and with recording',
      [cpuUs('proxied'), cpuUs('recorded')].map((us) => (us === null ? 'unknown' : `${us.toFixed(0)} µs`)).join(', '),
    ],
    ['sent late by the generator itself p99', ms(median(direct.map(({ p99SentLateMs }) => p99SentLateMs)))],
    ['calls recorded on the bus', String(observed)],
    ['failed', String(failures.length)],
  ];
  for (const failure of failures.slice(0, 3)) process.stderr.write(`failed: ${failure}\n`);
  report('proxy', rows, {
    direct_p50_ms: round(middle(direct, 50)),
    direct_p99_ms: round(middle(direct, 99)),
    proxied_p50_ms: round(middle(proxied, 50)),
    proxied_p99_ms: round(middle(proxied, 99)),
    added_p50_ms: round(added(proxied, direct, 50)),
    added_p99_ms: round(added(proxied, direct, 99)),
    recorded_added_p50_ms: round(added(recorded, direct, 50)),
    recorded_added_p99_ms: round(added(recorded, direct, 99)),
    gateway_cpu_us: cpuUs('proxied'),
    recording_gateway_cpu_us: cpuUs('recorded'),
    failed_requests: failures.length,
  });
  if (failures.length > 0) process.exitCode = 1;
  await bus.close();
  await rm(folder, { recursive: true, force: true });
};

const round = (value: number): number => Number(value.toFixed(3));

if (import.meta.main) await run();
