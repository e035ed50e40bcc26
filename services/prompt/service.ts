import { ErasureService } from '@understudy/contract/erasure';
import { ForgettingService, PairStoreService } from '@understudy/contract/pair-store';
import { PromptService } from '@understudy/contract/prompt';
import { TeacherGatewayService } from '@understudy/contract/teacher-gateway';
import { InTurn } from '@understudy/service/in-turn';
import type { ServiceContext, ServiceDefinition, ServiceParts } from '@understudy/service/lifecycle';
import { createClient } from '@understudy/service/rpc/client';
import { type RpcService, rpcService } from '@understudy/service/rpc/server';
import { type Config, config } from './config.ts';
import type { PromptContext, StepContext } from './context.ts';
import { Journal } from './journal.ts';
import { onBatchClosed } from './on-batch-closed.ts';
import { onMessageDeadLettered } from './on-message-dead-lettered.ts';
import { onPairsGathered } from './on-pairs-gathered.ts';
import { onRunFact } from './on-run-fact.ts';
import { onRunRequested } from './on-run-requested.ts';
import { onStudentDemoted } from './on-student-demoted.ts';
import { onTeacherDrifted } from './on-teacher-drifted.ts';
import { applyTask } from './routes/apply-task.ts';
import { cancelRun } from './routes/cancel-run.ts';
import { drawSample } from './routes/draw-sample.ts';
import { erase } from './routes/erase.ts';
import { getRun } from './routes/get-run.ts';
import { getTask } from './routes/get-task.ts';
import { listRuns } from './routes/list-runs.ts';
import { listTasks } from './routes/list-tasks.ts';
import { startRun } from './routes/start-run.ts';
import { streamSample } from './routes/stream-sample.ts';
import { watchRun } from './routes/watch-run.ts';
import { RunStore } from './run-store.ts';
import { Runs } from './runs.ts';
import { TaskStore } from './task-store.ts';

export const definition: ServiceDefinition<Config> = { name: 'prompt', config, create };

async function create(base: ServiceContext<Config>): Promise<ServiceParts> {
  const step: StepContext = {
    ...base,
    tasks: new TaskStore(await base.bus.bucket('tasks'), base.blobs, base.idKey),
    runStore: new RunStore(await base.bus.bucket('runs')),
    pairStore: createClient(PairStoreService, { address: base.config.PAIR_STORE_ADDRESS, token: base.rpcToken }),
    forgetting: createClient(ForgettingService, { address: base.config.PAIR_STORE_ADDRESS, token: base.rpcToken }),
    forgotten: new Set(),
    erasing: new InTurn(),
    teacherGateway: gatewayOf(base),
    journal: new Journal(base.telemetry),
  };
  const context: PromptContext = { ...step, runs: new Runs(step) };
  return {
    rpc: [
      routesOf(context),
      rpcService(ErasureService, { erase: (request) => context.erasing.do(() => erase(context, request)) }),
    ],
    consumers: consumersOf(context),
    start: () => context.runs.resume(),
    stop: async () => {
      await context.runs.stop();
      context.pairStore.close();
      context.forgetting.close();
      context.teacherGateway?.close();
    },
  };
}

function gatewayOf({ config, rpcToken }: ServiceContext<Config>): StepContext['teacherGateway'] {
  if (config.TEACHER_GATEWAY_ADDRESS === undefined) return undefined;
  return createClient(TeacherGatewayService, { address: config.TEACHER_GATEWAY_ADDRESS, token: rpcToken });
}

function routesOf(context: PromptContext): RpcService {
  return rpcService(PromptService, {
    applyTask: (request) => applyTask(context, request),
    getTask: (request) => getTask(context, request),
    listTasks: () => listTasks(context),
    startRun: (request, call) => startRun(context, request, call),
    drawSample: (request, call) => drawSample(context, request, call),
    getRun: (request) => getRun(context, request),
    listRuns: (request) => listRuns(context, request),
    watchRun: (request, call) => watchRun(context, request, call),
    cancelRun: (request) => cancelRun(context, request),
    streamSample: (request, call) => streamSample(context, request, call),
  });
}

function consumersOf(context: PromptContext): NonNullable<ServiceParts['consumers']> {
  return {
    'prompt-runs': { concurrency: 4, on: { 'run.requested': (event) => onRunRequested(context, event) } },
    'prompt-facts': {
      // One at a time keeps the order in which the facts became true; there are few of them.
      concurrency: 1,
      on: {
        'batch.closed': (event) => onBatchClosed(context, event),
        'pairs.sealed': (event) => onRunFact(context, event),
        'training.progressed': (event) => onRunFact(context, event),
        'student.trained': (event) => onRunFact(context, event),
        'eval.passed': (event) => onRunFact(context, event),
        'eval.failed': (event) => onRunFact(context, event),
        'student.promoted': (event) => onRunFact(context, event),
        'student.staged': (event) => onRunFact(context, event),
        'run.cancelled': (event) => onRunFact(context, event),
      },
    },
    'prompt-policy': {
      // One at a time: a drift and the demotion that it caused ask for one run.
      concurrency: 1,
      on: {
        'student.demoted': (event) => onStudentDemoted(context, event),
        'teacher.drifted': (event) => onTeacherDrifted(context, event),
        'pairs.gathered': (event) => onPairsGathered(context, event),
      },
    },
    'prompt-dead-letters': {
      concurrency: 4,
      on: { 'message.dead-lettered': (event) => onMessageDeadLettered(context, event) },
    },
  };
}
