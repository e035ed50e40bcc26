/** The whole platform as its own processes, under the same supervisor that users run. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { GenService, GenServiceMethods } from '@bufbuild/protobuf/codegenv2';
import { lineOf, type RunFile, readRunFile, type SupervisorEvent } from '@understudy/cli/platform';
import type { ServiceName } from '@understudy/contract';
import { DeployerService } from '@understudy/contract/deployer';
import { EvaluatorService } from '@understudy/contract/evaluator';
import { PairStoreService } from '@understudy/contract/pair-store';
import { PromptService, RunStage, type RunState } from '@understudy/contract/prompt';
import { TeacherGatewayService } from '@understudy/contract/teacher-gateway';
import { pgliteTemplate } from '@understudy/pair-store/testing';
import { type BusConnection, connectBus } from '@understudy/service/bus/connection';
import { createClient, type RpcClient } from '@understudy/service/rpc/client';
import { Telemetry } from '@understudy/service/telemetry';

const supervisor = resolve(import.meta.dirname, '../../deploy/local/supervisor.ts');
const pollMs = 50;

/** What ids are keyed by decides which prompt is of which split: with one key for all, a test has the same splits in every run. */
const idKey = process.env.TEST_ID_KEY ?? '5a'.repeat(32);

/** Puts the key, and a database, which would take seconds to make, into a data folder that is new. */
const prepare = async (dataDir: string): Promise<void> => {
  if (existsSync(join(dataDir, 'secrets'))) return;
  await mkdir(join(dataDir, 'secrets'), { recursive: true, mode: 0o700 });
  await writeFile(join(dataDir, 'secrets', 'id-key'), idKey, { mode: 0o600 });
  await cp(await pgliteTemplate(), join(dataDir, 'pair-store'), { recursive: true });
};

/** A running platform on a data folder of its own, removed at the end. */
export class TestPlatform implements AsyncDisposable {
  readonly dataDir: string;
  readonly events: SupervisorEvent[] = [];
  readonly #child: ChildProcess;
  readonly #keepData: boolean;
  #closers: (() => unknown)[] = [];

  private constructor(dataDir: string, env: NodeJS.ProcessEnv, keepData: boolean) {
    this.dataDir = dataDir;
    this.#keepData = keepData;
    this.#child = fork(supervisor, {
      env: { ...process.env, LOG_LEVEL: 'info', ...env, UNDERSTUDY_DATA: dataDir },
      silent: true,
    });
    this.#child.on('message', (event: SupervisorEvent) => this.events.push(event));
  }

  /**
   * Starts all services; resolves when they serve.
   * @param options.dataDir a folder to use (again) and to leave; a fresh one, removed at the end, where absent
   */
  static async start(options: { env?: NodeJS.ProcessEnv; dataDir?: string } = {}): Promise<TestPlatform> {
    const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'understudy-test-')));
    await prepare(dataDir);
    const platform = new TestPlatform(dataDir, options.env ?? {}, options.dataDir !== undefined);
    await platform.#serving();
    return platform;
  }

  async #serving(): Promise<void> {
    const ended = once(this.#child, 'exit').then(() => {
      throw new Error(`the platform ended:\n${this.events.map(lineOf).join('\n')}`);
    });
    await Promise.race([ended, this.until(() => this.events.some(({ event }) => event === 'serving'))]);
    ended.catch(() => {});
  }

  /** Waits for a condition. */
  async until(condition: () => boolean | Promise<boolean>): Promise<void> {
    while (!(await condition())) await new Promise((wake) => setTimeout(wake, pollMs));
  }

  get run(): RunFile {
    const file = readRunFile(this.dataDir);
    if (!file) throw new Error(`${this.dataDir} has no run file`);
    return file;
  }

  /** Everything that the services have logged. */
  log(process: string): string {
    return readFileSync(join(this.dataDir, 'logs', `${process}.log`), 'utf8');
  }

  client<S extends GenService<GenServiceMethods>>(service: S, name: ServiceName): RpcClient<S> {
    const address = this.run.grpc[name];
    if (!address) throw new Error(`${name} has no address`);
    const client = createClient(service, { address, token: readFileSync(this.run.rpcTokenFile, 'utf8').trim() });
    this.#closers.push(() => client.close());
    return client;
  }

  get prompt() {
    return this.client(PromptService, 'prompt');
  }
  get pairStore() {
    return this.client(PairStoreService, 'pair-store');
  }
  get teacherGateway() {
    return this.client(TeacherGatewayService, 'teacher-gateway');
  }
  get evaluator() {
    return this.client(EvaluatorService, 'evaluator');
  }
  get deployer() {
    return this.client(DeployerService, 'deployer');
  }

  get operatorSeed(): string {
    return readFileSync(this.run.operatorSeedFile, 'utf8').trim();
  }

  /** The bus, as its operator. */
  async bus(): Promise<BusConnection> {
    const telemetry = new Telemetry({ service: 'test', logLevel: 'silent' });
    const seed = this.operatorSeed;
    const bus = await connectBus({
      url: this.run.natsUrl,
      seed,
      name: 'operator',
      naming: { prefix: '' },
      log: telemetry.log,
    });
    this.#closers.push(() => bus.close());
    return bus;
  }

  /** kill -9 of a process by its name; the supervisor starts it again. Resolves when it is ready again. */
  async kill(name: string): Promise<void> {
    const victim = this.run.processes.find((process) => process.name === name);
    if (!victim)
      throw new Error(`no process is called ${name}: ${this.run.processes.map((one) => one.name).join(', ')}`);
    const seen = this.events.length;
    process.kill(victim.pid, 'SIGKILL');
    await this.until(() => this.events.slice(seen).some((event) => event.event === 'ready' && event.name === name));
  }

  /** Applies a task and starts a run of it. */
  async startRun(task: object, runId = ''): Promise<string> {
    const applied = await this.prompt.applyTask({ taskJson: JSON.stringify(task) });
    const started = await this.prompt.startRun({ task: applied.task, runId });
    return started.runId;
  }

  /** The run's state once a condition holds for it. */
  async runUntil(runId: string, condition: (run: RunState) => boolean): Promise<RunState> {
    const { prompt } = this;
    for (;;) {
      const run = await prompt.getRun({ runId }).then(
        (answer) => answer.run,
        () => undefined,
      );
      if (run && condition(run)) return run;
      if (run?.stage === RunStage.FINISHED) throw new Error(`the run ended before the condition held: ${run.reason}`);
      await new Promise((wake) => setTimeout(wake, pollMs));
    }
  }

  /** Waits until clients are answered for a task. */
  untilServed(task: string): Promise<void> {
    return this.until(() =>
      fetch(`${this.run.httpUrl}/v2/models/${task}/ready`).then(
        ({ status }) => status === 200,
        () => false,
      ),
    );
  }

  finished(runId: string): Promise<RunState> {
    return this.runUntil(runId, (run) => run.stage === RunStage.FINISHED);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.#closers) await close();
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, 'exit');
      this.#child.kill('SIGTERM');
      await ended;
    }
    if (!this.#keepData) await rm(this.dataDir, { recursive: true, force: true });
  }
}
