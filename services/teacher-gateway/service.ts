import { type ConsumerName, type TeacherKind, teacherKinds } from '@understudy/contract';
import { ErasureService } from '@understudy/contract/erasure';
import { PairStoreService } from '@understudy/contract/pair-store';
import { TeacherGatewayService } from '@understudy/contract/teacher-gateway';
import type { EachOptions } from '@understudy/service/bus/consume';
import type { ServiceContext, ServiceDefinition, ServiceParts } from '@understudy/service/lifecycle';
import { createClient } from '@understudy/service/rpc/client';
import { type RpcService, rpcService } from '@understudy/service/rpc/server';
import { Answers } from './answers.ts';
import { Backpressure } from './backpressure.ts';
import { type Config, concurrencyOf, config, keysOf } from './config.ts';
import type { AnsweringContext, GatewayContext } from './context.ts';
import { Events } from './events.ts';
import { KnownTasks } from './known-tasks.ts';
import { Ledger } from './ledger/ledger.ts';
import { MIN_PREPARED, PREPARE_SHARE } from './limits.ts';
import { onPromptSubmitted } from './on-prompt-submitted.ts';
import { PairLookup } from './pair-lookup.ts';
import { Peers } from './peers.ts';
import { accountBatch } from './routes/account-batch.ts';
import { ask } from './routes/ask.ts';
import { erase } from './routes/erase.ts';
import { estimateCost } from './routes/estimate-cost.ts';
import { getLedger } from './routes/get-ledger.ts';
import { listTeachers } from './routes/list-teachers.ts';
import { noteModel } from './routes/note-model.ts';
import { write } from './routes/write.ts';
import { RunScopes } from './run-scopes.ts';
import { Recordings } from './teachers/recordings.ts';
import { RequestInbox } from './teachers/request-inbox.ts';

export const definition: ServiceDefinition<Config> = { name: 'teacher-gateway', config, create };

async function create(base: ServiceContext<Config>): Promise<ServiceParts> {
  const { bus, telemetry, blobs } = base;
  const bucket = await bus.bucket('ledger');
  const pairStore = createClient(PairStoreService, { address: base.config.PAIR_STORE_ADDRESS, token: base.rpcToken });
  const teacherBus = { inbox: new RequestInbox(bus.nc, `_INBOX.${base.name}`), naming: bus.naming };
  const backpressure = new Backpressure(bus, telemetry.log);
  const surroundings = {
    env: keysOf(process.env),
    bus: teacherBus,
    addresses: base.config.TEACHER_ALLOWED_ADDRESSES,
    recordTo: recordingsIn(base.config.TEACHER_RECORD_TO),
    replayFrom: recordingsIn(base.config.TEACHER_REPLAY_FROM),
  };
  const calling: GatewayContext = {
    ...base,
    events: new Events(telemetry),
    ledger: new Ledger(bucket, telemetry.log),
    tasks: new KnownTasks(blobs, bucket, surroundings, telemetry.log, base.idKey),
    scopes: new RunScopes(),
  };
  const peers = new Peers(bus, telemetry);
  const lookup = new PairLookup(pairStore);
  const answers = new Answers(calling, lookup, peers);
  const context: AnsweringContext = { ...calling, answers, lookup, live: { requests: 0 } };
  return {
    rpc: [
      routesOf(context),
      rpcService(ErasureService, {
        erase: (request) => erase({ answers, blobs, idKey: base.idKey, recordings: surroundings.recordTo }, request),
      }),
    ],
    consumers: consumersOf(context, backpressure),
    start: async () => {
      context.ledger.start();
      await context.scopes.start(bus, telemetry);
      await peers.start();
      await backpressure.start();
    },
    drain: () => context.scopes.drain(),
    stop: async () => {
      backpressure.stop();
      await context.scopes.stop();
      await peers[Symbol.asyncDispose]();
      await context.ledger.close();
      await context.tasks.close();
      pairStore.close();
    },
  };
}

const recordingsIn = (folder: string | undefined) => (folder === undefined ? undefined : new Recordings(folder));

const routesOf = (context: AnsweringContext): RpcService =>
  rpcService(TeacherGatewayService, {
    ask: (request, call) => ask(context, request, call),
    write: (request, call) => write(context, request, call),
    getLedger: (request) => getLedger(context, request),
    estimateCost: (request, call) => estimateCost(context, request, call),
    listTeachers: () => listTeachers(context),
    noteModel: (request) => noteModel(context, request),
    accountBatch: (request) => accountBatch(context, request),
  });

const consumersOf = (context: AnsweringContext, { gate }: Backpressure): Partial<Record<ConsumerName, EachOptions>> =>
  Object.fromEntries(
    teacherKinds
      .filter((kind) => context.config.TEACHER_KINDS.includes(kind))
      .map((kind) => [`teacher-gateway-${kind}`, consumerOf(context, kind, gate)]),
  );

const consumerOf = (context: AnsweringContext, kind: TeacherKind, gate: () => Promise<void>): EachOptions => {
  const calls = concurrencyOf(context.config, kind);
  return {
    concurrency: calls + Math.max(MIN_PREPARED, Math.ceil(calls * PREPARE_SHARE)),
    gate,
    on: { 'prompt.submitted': (event) => onPromptSubmitted(context, event) },
  };
};
