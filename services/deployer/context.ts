import type { EvaluatorService } from '@understudy/contract/evaluator';
import type { ServiceContext } from '@understudy/service/lifecycle';
import type { RpcClient } from '@understudy/service/rpc/client';
import type { Config } from './config.ts';
import type { Deployments } from './deployments.ts';
import type { Journal } from './journal.ts';

/** What the parts of this service work with. */
export interface DeployerContext extends ServiceContext<Config> {
  evaluator: RpcClient<typeof EvaluatorService>;
  deployments: Deployments;
  journal: Journal;
}
