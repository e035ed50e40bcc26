// The whole platform on one machine: the bus first, then every service; stopped the other way round.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type RunFile, readRunFile, type SupervisorEvent, writeRunFile } from '@understudy/cli/platform';
import { serviceNames } from '@understudy/contract';
import { StartupError } from '@understudy/service/errors';
import { Ports } from '@understudy/service/ports';
import { Child } from './child.ts';
import { idKeyFile, lackOfSpace, rpcTokenFile, takeDataFolder } from './data-folder.ts';
import { Erasures } from './erasures.ts';
import { stopLeftovers } from './leftovers.ts';
import { startOf } from './lock.mjs';
import { guard, natsProcess, operatorSeedFile, provisionBus } from './nats.ts';
import { grpcAddress, type PlacedService, placeServices, serviceProcess } from './services.ts';
import type { Settings } from './settings.ts';

const spaceCheckMs = 2_000;

/** Where everything listens. */
interface Places {
  natsPort: number;
  httpPort: number;
  services: PlacedService[];
}

/** A platform; make one with `Platform.take`. */
export class Platform {
  readonly #settings: Settings;
  readonly #report: (event: SupervisorEvent) => void;
  readonly #release: () => void;
  readonly #trouble = Promise.withResolvers<never>();
  #places: Places | undefined;
  #nats: Child | undefined;
  #services: Child[] = [];
  #callOffGuard: () => void = () => {};
  #guardedPid: number | undefined;
  #spaceCheck: NodeJS.Timeout | undefined;
  readonly #erasures: Erasures;
  #stopping = false;

  /**
   * Takes the data folder; nothing runs yet.
   * @throws StartupError when the folder cannot be used
   */
  static take(settings: Settings, report: (event: SupervisorEvent) => void): Platform {
    return new Platform(settings, report, takeDataFolder(settings.dataDir));
  }

  private constructor(settings: Settings, report: (event: SupervisorEvent) => void, release: () => void) {
    this.#settings = settings;
    this.#report = report;
    this.#release = release;
    this.#erasures = new Erasures(settings.dataDir, report);
    this.#trouble.promise.catch(() => {});
  }

  /** Rejects when the platform cannot go on: a process that does not stay up, or a full disk. */
  get trouble(): Promise<never> {
    return this.#trouble.promise;
  }

  /** Resolves when every service is ready, or when `stop` was called before. */
  async start(): Promise<void> {
    const { dataDir } = this.#settings;
    const before = readRunFile(dataDir);
    if (before) await stopLeftovers(before.processes);
    const places = await this.#place(before);
    if (this.#stopping) return;
    this.#places = places;
    this.#spaceCheck = setInterval(() => this.#checkSpace(), spaceCheckMs);

    this.#nats = this.#child(natsProcess(this.#settings, places.natsPort));
    await this.#nats.start();
    const natsUrl = `nats://127.0.0.1:${places.natsPort}`;
    await provisionBus(dataDir, natsUrl);
    // Before any service has a folder: that is how a fresh platform is known.
    idKeyFile(dataDir);
    for (const { service } of places.services) mkdirSync(join(dataDir, service), { recursive: true, mode: 0o700 });
    const around = { settings: this.#settings, placed: places.services, natsUrl, httpPort: places.httpPort };
    const specs = await Promise.all(places.services.map((one) => serviceProcess(one, around)));
    if (this.#stopping) return;
    this.#services = specs.map((spec) => this.#child(spec));
    await Promise.all(this.#services.map((service) => service.start()));
    if (this.#stopping) return;
    this.#erasures.start();
    this.#report({ event: 'serving', httpUrl: `http://127.0.0.1:${places.httpPort}` });
  }

  /** Lets every service finish what it began, then stops the bus. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#report({ event: 'stopping' });
    clearInterval(this.#spaceCheck);
    await this.#erasures.stop();
    await Promise.all(this.#services.map((service) => service.stop()));
    await this.#nats?.stop();
    this.#callOffGuard();
    this.#release();
    this.#report({ event: 'stopped' });
  }

  async #place(before: RunFile | undefined): Promise<Places> {
    const { httpPort, natsPort } = this.#settings;
    const ports = new Ports();
    return {
      natsPort: natsPort
        ? await ports.fixed(natsPort, 'UNDERSTUDY_NATS_PORT')
        : await ports.free(portOf(before?.natsUrl)),
      httpPort: httpPort
        ? await ports.fixed(httpPort, 'UNDERSTUDY_HTTP_PORT')
        : await ports.free(portOf(before?.httpUrl)),
      services: await placeServices(this.#settings, ports),
    };
  }

  #child(spec: ConstructorParameters<typeof Child>[0]): Child {
    const child = new Child(spec, this.#report, () => this.#processChanged());
    child.failed.catch((error) => this.#trouble.reject(error));
    return child;
  }

  #checkSpace(): void {
    const lack = lackOfSpace(this.#settings.dataDir);
    if (lack) this.#trouble.reject(new StartupError(lack));
  }

  /** Keeps run.json and the guard of nats-server in step with the processes that run. */
  #processChanged(): void {
    const nats = this.#nats?.identity;
    if (nats && nats.pid !== this.#guardedPid) {
      this.#callOffGuard();
      this.#callOffGuard = guard(nats.pid);
      this.#guardedPid = nats.pid;
    }
    if (this.#places) writeRunFile(this.#settings.dataDir, this.#runFile(this.#places));
  }

  #runFile({ natsPort, httpPort, services }: Places): RunFile {
    const { dataDir } = this.#settings;
    const running = [this.#nats, ...this.#services].map((child) => child?.identity);
    return {
      supervisor: { name: 'supervisor', pid: process.pid, started: startOf(process.pid) ?? '' },
      processes: running.filter((identity) => identity !== undefined),
      natsUrl: `nats://127.0.0.1:${natsPort}`,
      grpc: Object.fromEntries(serviceNames.map((service) => [service, grpcAddress(services, service)])),
      metrics: Object.fromEntries(services.map((one) => [one.process, `http://127.0.0.1:${one.metricsPort}/metrics`])),
      httpUrl: `http://127.0.0.1:${httpPort}`,
      rpcTokenFile: rpcTokenFile(dataDir),
      idKeyFile: idKeyFile(dataDir),
      operatorSeedFile: operatorSeedFile(dataDir),
    };
  }
}

const portOf = (url: string | undefined): number | undefined => (url ? Number(new URL(url).port) : undefined);
