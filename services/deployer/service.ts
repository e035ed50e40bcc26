import { DeployerService } from '@understudy/contract/deployer';
import { EvaluatorService } from '@understudy/contract/evaluator';
import type { ServiceContext, ServiceDefinition, ServiceParts } from '@understudy/service/lifecycle';
import { createClient } from '@understudy/service/rpc/client';
import { rpcService } from '@understudy/service/rpc/server';
import { type Config, config } from './config.ts';
import type { DeployerContext } from './context.ts';
import { Deployments } from './deployments.ts';
import { Journal } from './journal.ts';
import { CONCURRENT_PROMOTIONS } from './limits.ts';
import { onEvalPassed } from './on-eval-passed.ts';
import { getDeployment } from './routes/get-deployment.ts';
import { listDeployments } from './routes/list-deployments.ts';
import { rollback } from './routes/rollback.ts';

export const definition: ServiceDefinition<Config> = { name: 'deployer', config, create };

async function create(base: ServiceContext<Config>): Promise<ServiceParts> {
  const context: DeployerContext = {
    ...base,
    evaluator: createClient(EvaluatorService, { address: base.config.EVALUATOR_ADDRESS, token: base.rpcToken }),
    deployments: new Deployments(await base.bus.bucket('deployments')),
    journal: new Journal(base.telemetry),
  };
  return {
    rpc: [
      rpcService(DeployerService, {
        getDeployment: (request) => getDeployment(context, request),
        listDeployments: () => listDeployments(context),
        rollback: (request, call) => rollback(context, request, call),
      }),
    ],
    consumers: {
      'deployer-verdicts': {
        concurrency: CONCURRENT_PROMOTIONS,
        on: { 'eval.passed': (event) => onEvalPassed(context, event) },
      },
    },
    stop: async () => context.evaluator.close(),
  };
}
