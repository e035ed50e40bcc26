import { DeployerService, QuarantineService } from '@understudy/contract/deployer';
import { EvaluatorService } from '@understudy/contract/evaluator';
import { PairStoreService } from '@understudy/contract/pair-store';
import { TeacherGatewayService } from '@understudy/contract/teacher-gateway';
import type { ServiceContext, ServiceDefinition, ServiceParts } from '@understudy/service/lifecycle';
import { createClient } from '@understudy/service/rpc/client';
import { rpcService } from '@understudy/service/rpc/server';
import { readTrusted } from '@understudy/student';
import { type Config, config } from './config.ts';
import type { DeployerContext } from './context.ts';
import { Decisions } from './decisions.ts';
import { Deployments } from './deployments.ts';
import { lookForDrift } from './drift.ts';
import { Journal } from './journal.ts';
import { AUDIT_BATCH, AUDIT_WAIT_MS, CONCURRENT_PROMOTIONS, DRIFT_POLL_MS, NEW_PAIRS_POLL_MS } from './limits.ts';
import { lookForNewPairs } from './new-pairs.ts';
import { onTraffic } from './on-answers-audited.ts';
import { onEvalPassed } from './on-eval-passed.ts';
import { Rounds } from './rounds.ts';
import { approve, reject } from './routes/decide.ts';
import { getDeployment } from './routes/get-deployment.ts';
import { getWatch } from './routes/get-watch.ts';
import { listDecisions } from './routes/list-decisions.ts';
import { listDeployments } from './routes/list-deployments.ts';
import { quarantine } from './routes/quarantine.ts';
import { rollback } from './routes/rollback.ts';
import { Standings } from './standings.ts';
import { tellAgain } from './tell.ts';
import { Watches } from './watches.ts';

export const definition: ServiceDefinition<Config> = { name: 'deployer', config, create };

async function create(base: ServiceContext<Config>): Promise<ServiceParts> {
  const { bus, config: settings, rpcToken: token } = base;
  const evaluator = createClient(EvaluatorService, { address: settings.EVALUATOR_ADDRESS, token });
  const context: DeployerContext = {
    ...base,
    evaluator,
    pairStore: createClient(PairStoreService, { address: settings.PAIR_STORE_ADDRESS, token }),
    teacher: createClient(TeacherGatewayService, { address: settings.TEACHER_GATEWAY_ADDRESS, token }),
    deployments: new Deployments(await bus.bucket('deployments')),
    decisions: new Decisions(await bus.bucket('decisions')),
    watches: new Watches(await bus.bucket('evidence')),
    standings: new Standings(base.blobs, evaluator),
    journal: new Journal(base.telemetry),
    trusted: readTrusted(settings),
  };
  const rounds = [driftRounds(context), newPairsRounds(context)];
  return {
    rpc: [
      rpcService(DeployerService, {
        getDeployment: (request) => getDeployment(context, request),
        listDeployments: () => listDeployments(context),
        rollback: (request, call) => rollback(context, request, call),
        approve: (request, call) => approve(context, request, call),
        reject: (request, call) => reject(context, request, call),
        listDecisions: (request) => listDecisions(context, request),
        getWatch: (request) => getWatch(context, request),
      }),
      rpcService(QuarantineService, { quarantine: (request, call) => quarantine(context, request, call) }),
    ],
    consumers: {
      'deployer-verdicts': {
        concurrency: CONCURRENT_PROMOTIONS,
        on: { 'eval.passed': (event) => onEvalPassed(context, event) },
      },
      'deployer-audits': {
        maxBatch: AUDIT_BATCH,
        maxWaitMs: AUDIT_WAIT_MS,
        onBatch: (events) => onTraffic(context, events),
      },
    },
    start: async () => {
      await tellAgain(context);
      for (const one of rounds) one.start();
    },
    stop: async () => {
      await Promise.all(rounds.map((one) => one.stop()));
      for (const client of [context.evaluator, context.pairStore, context.teacher]) client.close();
    },
  };
}

const driftRounds = (context: DeployerContext): Rounds =>
  new Rounds(context, {
    everyMs: DRIFT_POLL_MS,
    look: (deployment) => lookForDrift(context, deployment, Date.now()),
    onFailure: (task, error) => context.journal.canariesFailed(task, error),
  });

const newPairsRounds = (context: DeployerContext): Rounds =>
  new Rounds(context, {
    everyMs: NEW_PAIRS_POLL_MS,
    look: (deployment) => lookForNewPairs(context, deployment),
    onFailure: (task, error) => context.journal.pairsUncounted(task, error),
  });
