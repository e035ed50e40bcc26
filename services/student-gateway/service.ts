import { join } from 'node:path';
import { ErasureService } from '@understudy/contract/erasure';
import { StudentGatewayService } from '@understudy/contract/student-gateway';
import { StartupError } from '@understudy/service/errors';
import type { OfflineContext, OfflineParts, OfflineServiceDefinition } from '@understudy/service/lifecycle';
import { type RpcService, rpcService } from '@understudy/service/rpc/server';
import type { Logger } from '@understudy/service/telemetry';
import { readTrusted } from '@understudy/student';
import { Answering } from './answering/answering.ts';
import { Teacher } from './answering/teacher.ts';
import { Auditor } from './auditing/auditor.ts';
import { tellConfidences } from './auditing/confidences.ts';
import { type Config, config } from './config.ts';
import { Deployments } from './deployments/deployments.ts';
import { DiskCache } from './deployments/disk-cache.ts';
import { Serving } from './deployments/serving.ts';
import { watchDeployments } from './deployments/watch.ts';
import { ApiKeys } from './http/api-keys.ts';
import { HttpServer } from './http/server.ts';
import { maxSpillBytes } from './limits.ts';
import { Metrics } from './metrics.ts';
import { Upstream } from './proxy/upstream.ts';
import { CallRecorder } from './recording/call-recorder.ts';
import { Prices } from './recording/prices.ts';
import { erase } from './routes/erase.ts';
import { predict } from './routes/predict.ts';
import { ThreadPool } from './students/threads.ts';
import { TrafficRecorder } from './traffic/recorder.ts';
import { Spill } from './traffic/spill.ts';

const create = async (context: OfflineContext<Config>): Promise<OfflineParts> => {
  const { config: settings, telemetry, blobs, rpcToken, idKey } = context;
  const { log } = telemetry;
  const folder = join(settings.DATA_DIR, 'student-gateway');
  const serving = new Serving();
  const metrics = new Metrics(telemetry.metrics, serving);
  const cache = await DiskCache.open(join(folder, 'serving'));
  const spill = await Spill.open(join(folder, 'traffic.jsonl'), maxSpillBytes);
  const traffic = new TrafficRecorder({ spill, metrics, log });
  const teacher = new Teacher({
    address: settings.TEACHER_GATEWAY_ADDRESS,
    token: rpcToken,
    timeoutMs: settings.TEACHER_TIMEOUT_MS,
    concurrency: settings.TEACHER_CONCURRENCY,
    log,
  });
  const auditor = new Auditor({ address: settings.TEACHER_GATEWAY_ADDRESS, token: rpcToken, metrics, log });
  const answering = new Answering({
    teacher,
    traffic,
    auditor,
    metrics,
    telemetry,
    traceRatio: settings.TRACE_PROMPTS_RATIO,
  });
  const threads = new ThreadPool(log);
  const deployments = new Deployments({
    blobs,
    cache,
    inferenceThreads: settings.INFERENCE_THREADS,
    trusted: readTrusted(settings),
    idKey,
    threads,
    serving,
    metrics,
    log,
  });
  const keys = settings.API_KEYS_FILE ? ApiKeys.read(settings.API_KEYS_FILE) : ApiKeys.none();
  let caughtUp = false;
  const baseUrl = settings.UPSTREAM_BASE_URL;
  const upstream = baseUrl === undefined ? undefined : new Upstream({ baseUrl, metrics, log });
  const recorder = recorderOf(settings, traffic, metrics, log);
  const http = new HttpServer({ answering, serving, keys, upstream, recorder, metrics, log, isReady: () => caughtUp });
  let stopWatching = async () => {};
  let stopTelling = () => {};
  return {
    rpc: routesOf({ answering, serving }, { blobs, idKey, spill }),
    start: async () => {
      await deployments.restore();
      threads.prepare();
      caughtUp = serving.all().length > 0;
      const port = await http.listen(settings.HTTP_HOST, settings.HTTP_PORT);
      log.info({ host: settings.HTTP_HOST, httpPort: port }, 'serves clients');
    },
    onBus: (bus, publisher) => {
      traffic.connect(bus, publisher);
      auditor.connect(publisher);
      stopTelling = tellConfidences(serving, publisher, log);
      stopWatching = watchDeployments(bus, log, {
        onDeployment: (task, deployment) => deployments.want(task, deployment),
        onCaughtUp: () => {
          caughtUp = true;
        },
      });
    },
    stop: async () => {
      caughtUp = false;
      await http.close(settings.DRAIN_TIMEOUT_MS);
      await stopWatching();
      stopTelling();
      await auditor.stop();
      await deployments.stop();
      await threads.close();
      teacher.close();
      upstream?.close();
      await recorder?.stop();
      await traffic.stop();
    },
  };
};

const routesOf = (predicting: Parameters<typeof predict>[0], erasing: Parameters<typeof erase>[0]): RpcService[] => [
  rpcService(StudentGatewayService, { predict: (request, call) => predict(predicting, request, call) }),
  rpcService(ErasureService, { erase: (request) => erase(erasing, request) }),
];

/** @throws StartupError where the settings contradict each other */
const recorderOf = (
  settings: Config,
  traffic: TrafficRecorder,
  metrics: Metrics,
  log: Logger,
): CallRecorder | undefined => {
  if (settings.RECORD_CALLS === '0') return undefined;
  const { UPSTREAM_BASE_URL: upstream, PRICES_FILE: file } = settings;
  if (upstream === undefined) {
    throw new StartupError(
      'RECORD_CALLS is 1, but no call passes through: set UPSTREAM_BASE_URL, or RECORD_CALLS to 0',
    );
  }
  const prices = file === undefined ? Prices.none() : Prices.read(file);
  return new CallRecorder({ traffic, prices, upstream, metrics, log });
};

/** Answers clients: the student when sure, the teacher when not. Starts, and serves what it served last, without the bus. */
export const definition: OfflineServiceDefinition<Config> = {
  name: 'student-gateway',
  config,
  busOptional: true,
  create,
};
