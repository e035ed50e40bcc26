import { ForgettingService, PairStoreService, ReviewService, WorkloadService } from '@understudy/contract/pair-store';
import type { ServiceContext, ServiceDefinition, ServiceParts } from '@understudy/service/lifecycle';
import { rpcService } from '@understudy/service/rpc/server';
import { type Config, config } from './config.ts';
import type { PairStoreContext } from './context.ts';
import { Groups } from './grouping/groups.ts';
import { Journal } from './journal.ts';
import { MAX_BATCH_EVENTS, MAX_BATCH_WAIT_MS } from './limits.ts';
import { onBatchClosed } from './on-batch-closed.ts';
import { onCallObserved } from './on-call-observed.ts';
import { onRunCancelled } from './on-run-cancelled.ts';
import { onTrafficObserved } from './on-traffic-observed.ts';
import { recordOutcomes } from './record-outcomes.ts';
import { findPairs } from './routes/find-pairs.ts';
import { forget, listErasures, listForgotten, noteErasure } from './routes/forget.ts';
import { getSnapshot } from './routes/get-snapshot.ts';
import { importPairs } from './routes/import-pairs.ts';
import { listDecisions } from './routes/list-decisions.ts';
import { listSuspects } from './routes/list-suspects.ts';
import { listWorkloads } from './routes/list-workloads.ts';
import { settlePair } from './routes/settle-pair.ts';
import { stats } from './routes/stats.ts';
import { streamPairs } from './routes/stream-pairs.ts';
import { streamWorkloadPairs } from './routes/stream-workload-pairs.ts';
import { sealNext } from './snapshot/seal.ts';
import { checkIdKey } from './store/check-id-key.ts';
import { openDatabase } from './store/open-database.ts';
import { publishOutbox } from './store/outbox.ts';
import { Tasks } from './tasks.ts';
import { Worker } from './worker.ts';

export const definition: ServiceDefinition<Config> = { name: 'pair-store', config, create };

async function create({
  config,
  telemetry,
  publisher,
  blobs,
  bus,
  idKey,
}: ServiceContext<Config>): Promise<ServiceParts> {
  const database = await openDatabase(config);
  await checkIdKey(database, idKey);
  telemetry.log.info({ database: database.location, blobs: blobs.location }, 'stores open');
  const journal = new Journal(telemetry);
  const tasks = new Tasks(blobs, idKey);
  const publishing = new Worker('outbox', telemetry, async () => !(await publishOutbox(database, publisher)));
  const sealing = new Worker('sealer', telemetry, async () => {
    const sealed = await sealNext({ database, blobs, tasks, telemetry, journal });
    if (sealed) publishing.wake();
    return sealed;
  });
  const context: PairStoreContext = {
    database,
    blobs,
    telemetry,
    journal,
    tasks,
    groups: new Groups(),
    bus,
    idKey,
    wakeSealer: () => sealing.wake(),
  };
  return {
    rpc: [routesOf(context), reviewRoutesOf(context), workloadRoutesOf(context), forgettingRoutesOf(context)],
    consumers: consumersOf(context),
    start: async () => {
      publishing.start();
      sealing.start();
    },
    stop: async () => {
      await sealing.stop();
      await publishing.stop();
      await database[Symbol.asyncDispose]();
    },
  };
}

const routesOf = (context: PairStoreContext) =>
  rpcService(PairStoreService, {
    streamPairs: (request) => streamPairs(context, request),
    getSnapshot: (request) => getSnapshot(context, request),
    stats: (request) => stats(context, request),
    findPairs: (request) => findPairs(context, request),
    importPairs: (request) => importPairs(context, request),
  });

const reviewRoutesOf = (context: PairStoreContext) =>
  rpcService(ReviewService, {
    listSuspects: (request) => listSuspects(context, request),
    settlePair: (request) => settlePair(context, request),
    listDecisions: (request) => listDecisions(context, request),
  });

const forgettingRoutesOf = (context: PairStoreContext) =>
  rpcService(ForgettingService, {
    forget: (request) => forget(context, request),
    noteErasure: (request) => noteErasure(context, request),
    listErasures: (request) => listErasures(context, request),
    listForgotten: (request) => listForgotten(context, request),
  });

const workloadRoutesOf = (context: PairStoreContext) =>
  rpcService(WorkloadService, {
    listWorkloads: (request) => listWorkloads(context, request),
    streamWorkloadPairs: (request) => streamWorkloadPairs(context, request),
  });

const consumersOf = (context: PairStoreContext): NonNullable<ServiceParts['consumers']> => ({
  'pair-store-answers': {
    onBatch: (events) => recordOutcomes(context, events),
    maxBatch: MAX_BATCH_EVENTS,
    maxWaitMs: MAX_BATCH_WAIT_MS,
  },
  'pair-store-batches': {
    // A manifest of a million ids takes a while; the runs behind it need not wait.
    concurrency: 4,
    on: {
      'batch.closed': (event) => onBatchClosed(context, event),
      'run.cancelled': (event) => onRunCancelled(context, event),
    },
  },
  'pair-store-calls': {
    onBatch: (events) => onCallObserved(context, events),
    maxBatch: MAX_BATCH_EVENTS,
    maxWaitMs: MAX_BATCH_WAIT_MS,
  },
  'pair-store-traffic': {
    onBatch: (events) => onTrafficObserved(context, events),
    maxBatch: MAX_BATCH_EVENTS,
    maxWaitMs: MAX_BATCH_WAIT_MS,
  },
});
