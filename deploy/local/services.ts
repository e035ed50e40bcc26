// The services of one machine: how each is started, and where the others find it.
import { get } from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type ServiceName, serviceNames } from '@understudy/contract';
import type { Ports } from '@understudy/service/ports';
import { seedFile } from '../nats/seeds.ts';
import { type ChildSpec, readyWithinMs } from './child.ts';
import { idKeyFile, rpcTokenFile } from './data-folder.ts';
import { secretsFolder } from './nats.ts';
import { root, type Settings } from './settings.ts';

/** A service's own grace for what it began (DRAIN_TIMEOUT_MS), and what it may take on top of it. */
const drainTimeoutMs = 20_000;
const stopWithinMs = drainTimeoutMs + 10_000;
const probeTimeoutMs = 2_000;

/** Variables that any process may see. Beside them a service sees the settings that its own `config.ts` declares. */
const harmless =
  /^(PATH|HOME|USER|LANG|LC_.*|TZ|TMPDIR|NODE_EXTRA_CA_CERTS|SSL_CERT_.*|(https?|no)_proxy|(HTTPS?|NO)_PROXY|NODE_OPTIONS|OTEL_.*|CUDA_.*|NVIDIA_.*|LD_LIBRARY_PATH)$/;
/** A task may name any variable as the place of its teacher's key: only the gateway sees them all. */
const keeperOfKeys: ServiceName = 'teacher-gateway';

export interface PlacedService {
  service: ServiceName;
  /** `teacher-gateway-2` for the second replica. */
  process: string;
  grpcPort: number;
  metricsPort: number;
}

/** Gives every process of every service its ports. */
export const placeServices = async ({ teacherGateways }: Settings, ports: Ports): Promise<PlacedService[]> => {
  const placed: PlacedService[] = [];
  for (const service of serviceNames) {
    const replicas = service === 'teacher-gateway' ? teacherGateways : 1;
    for (let replica = 1; replica <= replicas; replica += 1) {
      const process = replicas === 1 ? service : `${service}-${replica}`;
      placed.push({ service, process, grpcPort: await ports.free(), metricsPort: await ports.free() });
    }
  }
  return placed;
};

/** Where a service is reached: `host:port` of its first replica. */
export const grpcAddress = (placed: readonly PlacedService[], service: ServiceName): string =>
  `127.0.0.1:${placed.find((one) => one.service === service)?.grpcPort}`;

export interface Surroundings {
  settings: Settings;
  placed: readonly PlacedService[];
  natsUrl: string;
  httpPort: number;
}

/** How to run one process of a service. */
export const serviceProcess = async (one: PlacedService, around: Surroundings): Promise<ChildSpec> => ({
  name: one.process,
  program: process.execPath,
  args: [join(root, 'services', one.service, 'main.ts')],
  env: environmentOf(one, around, await settingsOf(one.service)),
  logFile: join(around.settings.dataDir, 'logs', `${one.process}.log`),
  isReady: () => answersReady(one.metricsPort),
  readyWithinMs,
  stopWithinMs,
});

const settingsOf = async (service: ServiceName): Promise<ReadonlySet<string>> => {
  const { config } = await import(join(root, 'services', service, 'config.ts'));
  return new Set(Object.keys(config.shape));
};

const environmentOf = (
  one: PlacedService,
  { settings, placed, natsUrl, httpPort }: Surroundings,
  declared: ReadonlySet<string>,
): NodeJS.ProcessEnv => {
  const visible = (key: string) =>
    one.service === keeperOfKeys ? !/^(UNDERSTUDY|npm)_/.test(key) : harmless.test(key) || declared.has(key);
  const addresses = serviceNames.map((service) => [`${variable(service)}_ADDRESS`, grpcAddress(placed, service)]);
  return {
    // Model servers of the same machine are what most tasks on it ask; a URL of another network is the owner's to allow.
    TEACHER_ALLOWED_ADDRESSES: 'loopback',
    BLOB_URL: pathToFileURL(join(settings.dataDir, 'blobs')).href,
    ...Object.fromEntries(Object.entries(process.env).filter(([key]) => visible(key))),
    ...Object.fromEntries(addresses),
    NODE_ENV: 'development',
    // Compiled code is kept from start to start.
    NODE_COMPILE_CACHE: join(root, 'node_modules', '.cache', 'node'),
    LOG_LEVEL: settings.logLevel,
    NATS_URL: natsUrl,
    NATS_NKEY_FILE: seedFile(secretsFolder(settings.dataDir), one.service),
    RPC_TOKEN_FILE: rpcTokenFile(settings.dataDir),
    ID_KEY_FILE: idKeyFile(settings.dataDir),
    GRPC_HOST: '127.0.0.1',
    GRPC_PORT: String(one.grpcPort),
    METRICS_PORT: String(one.metricsPort),
    DATA_DIR: join(settings.dataDir, one.service),
    TRACES_DIR: join(settings.dataDir, 'traces'),
    DRAIN_TIMEOUT_MS: String(drainTimeoutMs),
    UNDERSTUDY_PARENT_PIPE: '1',
    ...(one.service === 'student-gateway' ? { HTTP_HOST: '127.0.0.1', HTTP_PORT: String(httpPort) } : {}),
  };
};

const variable = (service: ServiceName) => service.toUpperCase().replaceAll('-', '_');

const answersReady = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const request = get({ host: '127.0.0.1', port, path: '/readyz', timeout: probeTimeoutMs }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(false));
  });
