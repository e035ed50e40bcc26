import { createServer, type Server } from 'node:http';
import type { ConsumerName, ServiceName } from '@understudy/contract';
import type { z } from 'zod';
import type { BlobStore } from './blobs/blob-store.ts';
import { openBlobStore } from './blobs/open-blob-store.ts';
import { type BusConnection, type BusConnectionOptions, connectBus } from './bus/connection.ts';
import type { BatchOptions, Consumption, EachOptions } from './bus/consume.ts';
import { Publisher } from './bus/publish.ts';
import { type BusSide, Consuming, LateBus } from './bus-side.ts';
import { type CommonConfig, readConfig, readSecretFile } from './config.ts';
import { messageOf, StartupError } from './errors.ts';
import { readIdKey } from './id-key.ts';
import { RpcServer, type RpcService } from './rpc/server.ts';
import { Telemetry } from './telemetry.ts';

/** What every service works with. */
export interface ServiceContext<C extends CommonConfig = CommonConfig> {
  name: ServiceName;
  config: C;
  telemetry: Telemetry;
  bus: BusConnection;
  publisher: Publisher;
  blobs: BlobStore;
  /** Bearer token for calls to other services. */
  rpcToken: string | undefined;
  /** What ids made of content are keyed by; undefined where this platform keys none. */
  idKey: Uint8Array | undefined;
}

/** What a service is made of; started in this order, stopped in the reverse. */
export interface ServiceParts {
  rpc?: readonly RpcService[];
  consumers?: Partial<Record<ConsumerName, EachOptions | BatchOptions>>;
  /** Begins background work, after RPC listens and before consumers take messages. */
  start?(): Promise<void>;
  /** Called when a stop begins: what only waits should give up, what is under way goes on. */
  drain?(): void;
  /** Ends background work, after consumers have finished theirs. */
  stop?(): Promise<void>;
}

/** A service: its name, its settings, and how it is made of a context. */
export interface ServiceDefinition<C extends CommonConfig> {
  name: ServiceName;
  config: z.ZodType<C> & { shape: object };
  create(context: ServiceContext<C>): Promise<ServiceParts>;
}

/** What a service works with that starts whether or not the bus is there. */
export type OfflineContext<C extends CommonConfig> = Omit<ServiceContext<C>, 'bus' | 'publisher'>;

/** Parts of a service that starts whether or not the bus is there. */
export interface OfflineParts extends Omit<ServiceParts, 'consumers'> {
  /** Called once, when the bus is reached for the first time: after `start`, never after `stop`. */
  onBus(bus: BusConnection, publisher: Publisher): void;
}

/** A service that must be able to work without the bus: it is connected in the background, for as long as it takes. */
export interface OfflineServiceDefinition<C extends CommonConfig> {
  name: ServiceName;
  config: z.ZodType<C> & { shape: object };
  busOptional: true;
  create(context: OfflineContext<C>): Promise<OfflineParts>;
}

/** A service that runs. */
export interface RunningService {
  grpcPort: number;
  metricsPort: number;
  /** The consumers at work, by name. */
  consumptions: ReadonlyMap<ConsumerName, Consumption>;
  /** Drains: no new work is taken, what was begun is finished within DRAIN_TIMEOUT_MS. */
  stop(): Promise<void>;
}

/**
 * Starts a service in this process. `overrides` replace parts of its context: the seam for tests.
 * @throws StartupError when configuration or surroundings are not fit
 */
export const startService = async <C extends CommonConfig>(
  definition: ServiceDefinition<C> | OfflineServiceDefinition<C>,
  env: NodeJS.ProcessEnv,
  overrides: Partial<ServiceContext<C>> = {},
): Promise<RunningService> => {
  const config = readConfig(definition.config, env);
  const rpcToken = config.RPC_TOKEN_FILE ? readSecretFile(config.RPC_TOKEN_FILE, 'RPC_TOKEN_FILE') : undefined;
  const idKey = readIdKey(config.ID_KEY_FILE);
  const telemetry =
    overrides.telemetry ??
    new Telemetry({
      service: definition.name,
      logLevel: config.LOG_LEVEL,
      otlpEndpoint: config.OTEL_EXPORTER_OTLP_ENDPOINT,
      tracesDir: config.TRACES_DIR,
    });
  const options: BusConnectionOptions = {
    url: config.NATS_URL,
    seed: config.NATS_NKEY_FILE ? readSecretFile(config.NATS_NKEY_FILE, 'NATS_NKEY_FILE') : undefined,
    name: definition.name,
    naming: { prefix: config.SUBJECT_PREFIX },
    log: telemetry.log,
  };
  if ('busOptional' in definition) {
    const blobs = overrides.blobs ?? (await openBlobStore(config));
    const context = { name: definition.name, config, telemetry, blobs, rpcToken, idKey, ...overrides };
    const parts = await definition.create(context);
    return startParts(context, parts, () => new LateBus(options, overrides.bus, parts, telemetry));
  }
  const bus = overrides.bus ?? (await connectBus(options));
  const blobs = overrides.blobs ?? (await openBlobStore(config));
  const publisher = overrides.publisher ?? new Publisher(bus, definition.name);
  const context = { name: definition.name, config, telemetry, bus, publisher, blobs, rpcToken, idKey, ...overrides };
  const parts = await definition.create(context);
  return startParts(context, parts, () => new Consuming(context, parts.consumers ?? {}));
};

const startParts = async <C extends CommonConfig>(
  context: OfflineContext<C>,
  parts: Omit<ServiceParts, 'consumers'>,
  startBusSide: () => BusSide,
): Promise<RunningService> => {
  const { config, telemetry } = context;
  const rpc = new RpcServer(
    {
      host: config.GRPC_HOST,
      port: config.GRPC_PORT,
      token: context.rpcToken,
      reflection: config.NODE_ENV !== 'production',
      telemetry,
    },
    parts.rpc ?? [],
  );
  await rpc.listen();
  let ready = false;
  const metrics = await listenMetrics(telemetry, config, () => ready);
  await parts.start?.();
  const busSide = startBusSide();
  rpc.setServing(true);
  ready = true;
  telemetry.log.info({ grpcPort: rpc.port, metricsPort: metrics.port }, 'ready');
  const stop = async () => {
    ready = false;
    telemetry.log.info('draining');
    rpc.setServing(false);
    parts.drain?.();
    const graceMs = config.DRAIN_TIMEOUT_MS;
    await busSide.stop(graceMs);
    await rpc.stop(graceMs);
    await parts.stop?.();
    metrics.server.close();
    await busSide.close();
    await context.blobs[Symbol.asyncDispose]();
    telemetry.log.info('drained');
    await telemetry.shutdown();
  };
  return { grpcPort: rpc.port, metricsPort: metrics.port, consumptions: busSide.consumptions, stop };
};

/** `/metrics` (Prometheus), `/livez`, `/readyz`. */
const listenMetrics = async (
  telemetry: Telemetry,
  { METRICS_HOST: host, METRICS_PORT: port }: CommonConfig,
  ready: () => boolean,
): Promise<{ server: Server; port: number }> => {
  const server = createServer(async (request, response) => {
    if (request.url === '/metrics') {
      response.setHeader('content-type', telemetry.metrics.contentType).end(await telemetry.metrics.metrics());
      return;
    }
    const status =
      request.url === '/livez' || (request.url === '/readyz' && ready()) ? 200 : request.url === '/readyz' ? 503 : 404;
    response.writeHead(status).end();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        new StartupError(`cannot listen on ${host}:${port} (METRICS_HOST, METRICS_PORT): ${error.message}`, {
          cause: error,
        }),
      ),
    );
    server.listen(port, host, resolve);
  });
  const address = server.address();
  return { server, port: typeof address === 'object' && address ? address.port : port };
};

/** A drain that hangs longer than its limit plus this is cut off. */
const forcedExitMarginMs = 5_000;

/** Runs a service as this process: the whole of a `main.ts`. */
export const runService = async <C extends CommonConfig>(
  definition: ServiceDefinition<C> | OfflineServiceDefinition<C>,
): Promise<void> => {
  try {
    const running = await startService(definition, process.env);
    const drainMs = Number(process.env.DRAIN_TIMEOUT_MS || 20_000);
    let stopping = false;
    const stop = async () => {
      if (stopping) return;
      stopping = true;
      setTimeout(() => process.exit(1), drainMs * 2 + forcedExitMarginMs).unref();
      await running.stop();
      process.exit(0);
    };
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
    if (process.env.UNDERSTUDY_PARENT_PIPE === '1') process.stdin.on('end', stop).on('error', stop).resume();
  } catch (error) {
    if (!(error instanceof StartupError)) throw error;
    process.stderr.write(`${definition.name}: ${messageOf(error)}\n`);
    process.exit(2);
  }
};
