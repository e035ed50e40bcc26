import type { EvaluatorService } from '@understudy/contract/evaluator';
import type { PairStoreService } from '@understudy/contract/pair-store';
import type { TeacherGatewayService } from '@understudy/contract/teacher-gateway';
import type { ServiceContext } from '@understudy/service/lifecycle';
import type { RpcClient } from '@understudy/service/rpc/client';
import type { Trusted } from '@understudy/student';
import type { Config } from './config.ts';
import type { Decisions } from './decisions.ts';
import type { Deployments } from './deployments.ts';
import type { Journal } from './journal.ts';
import type { Standings } from './standings.ts';
import type { Watches } from './watches.ts';

/** What the parts of this service work with. */
export interface DeployerContext extends ServiceContext<Config> {
  evaluator: RpcClient<typeof EvaluatorService>;
  pairStore: RpcClient<typeof PairStoreService>;
  teacher: RpcClient<typeof TeacherGatewayService>;
  deployments: Deployments;
  decisions: Decisions;
  standings: Standings;
  watches: Watches;
  journal: Journal;
  /** Keys whose signatures a promotion asks for; undefined where it asks for none. */
  trusted: Trusted;
}
