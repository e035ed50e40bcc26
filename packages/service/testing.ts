/** What tests need of a real bus: a server of their own on a random port, provisioned. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ConsumerName,
  consumerSubjects,
  consumers,
  type DeadLettered,
  type Naming,
  storeNameOf,
} from '@understudy/contract';
import { type BusConnection, connectBus } from './bus/connection.ts';
import { decodePayload } from './bus/event.ts';
import { provision } from './bus/provision.ts';
import { Publisher } from './bus/publish.ts';
import { messageOf } from './errors.ts';
import { Ports } from './ports.ts';
import { Telemetry } from './telemetry.ts';

const ports = new Ports();

/** A port for a process that is started here, and for nobody else as long as this one lives. */
export const freePort = (): Promise<number> => ports.free();

/** A nats-server process with a data folder of its own. */
export class NatsServer implements AsyncDisposable {
  readonly port: number;
  readonly folder: string;
  #child: ChildProcess | undefined;

  private constructor(port: number, folder: string) {
    this.port = port;
    this.folder = folder;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  static async start(): Promise<NatsServer> {
    const server = new NatsServer(await freePort(), await mkdtemp(join(tmpdir(), 'understudy-nats-')));
    await server.start();
    return server;
  }

  /** Starts it, or starts it again on the same port and data. */
  async start(): Promise<void> {
    const binary = process.env.NATS_SERVER_BIN || 'nats-server';
    const child = spawn(binary, ['-a', '127.0.0.1', '-p', String(this.port), '-js', '-sd', this.folder], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child = child;
    // Also when the test process ends without having disposed of it.
    process.once('exit', () => child.kill('SIGKILL'));
    let output = '';
    await new Promise<void>((resolve, reject) => {
      child.once('error', (error) =>
        reject(new Error(`cannot start ${binary}: ${messageOf(error)}`, { cause: error })),
      );
      child.once('exit', (code) => reject(new Error(`nats-server ended with ${code}:\n${output}`)));
      child.stderr.on('data', (chunk) => {
        output = (output + chunk).slice(-10_000);
        if (output.includes('Server is ready')) resolve();
      });
    });
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await gone;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** A provisioned bus with a publisher; also what a Consumption needs. */
export interface TestBus extends AsyncDisposable {
  server: NatsServer;
  bus: BusConnection;
  publisher: Publisher;
  telemetry: Telemetry;
  /** The last dead letters, once there are at least so many. */
  deadLetters(count: number): Promise<DeadLettered[]>;
}

export const testBus = async (naming: Naming = { prefix: '' }): Promise<TestBus> => {
  const server = await NatsServer.start();
  const telemetry = new Telemetry({ service: 'test', logLevel: process.env.TEST_LOG_LEVEL || 'fatal' });
  const bus = await connectBus({ url: server.url, name: 'test', naming, log: telemetry.log });
  await provision(bus);
  return {
    server,
    bus,
    telemetry,
    publisher: new Publisher(bus, 'test'),
    deadLetters: (count) => lastDeadLetters(bus, count),
    [Symbol.asyncDispose]: async () => {
      await bus.close();
      await server[Symbol.asyncDispose]();
    },
  };
};

const pollMs = 20;

/**
 * Resolves when every message that the stream has for a consumer got its ending. Not asked of the server as `num_pending`:
 * that may not count yet what was stored a moment ago.
 */
export const allHandled = async ({ jsm, naming }: BusConnection, name: ConsumerName): Promise<void> => {
  const stream = storeNameOf(naming, consumers[name].stream);
  const subjects = consumerSubjects(naming, name);
  for (;;) {
    const last = await Promise.all(subjects.map((last_by_subj) => jsm.streams.getMessage(stream, { last_by_subj })));
    const { delivered, num_ack_pending } = await jsm.consumers.info(stream, name);
    if (num_ack_pending === 0 && last.every((message) => (message?.seq ?? 0) <= delivered.stream_seq)) return;
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
};

const lastDeadLetters = async (bus: BusConnection, count: number): Promise<DeadLettered[]> => {
  for (;;) {
    const { state } = await bus.jsm.streams.info('DEAD_LETTERS');
    if (state.messages >= count) {
      const sequences = Array.from({ length: count }, (_, index) => state.last_seq - count + 1 + index);
      const stored = await Promise.all(sequences.map((seq) => bus.jsm.streams.getMessage('DEAD_LETTERS', { seq })));
      return stored.map((message) => decodePayload('message.dead-lettered', message!.data));
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
};
