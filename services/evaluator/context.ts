import type { KV } from '@nats-io/kv';
import type { PairStoreService } from '@understudy/contract/pair-store';
import type { TeacherGatewayService } from '@understudy/contract/teacher-gateway';
import type { ServiceContext } from '@understudy/service/lifecycle';
import type { RpcClient } from '@understudy/service/rpc/client';
import type { Key } from '@understudy/service/signatures/keys';
import type { CancelledRuns } from './cancelled-runs.ts';
import type { Config } from './config.ts';
import type { Journal } from './journal.ts';
import type { Looks } from './looks.ts';
import type { ReportIndex } from './report-index.ts';

/** What the parts of this service work with. */
export interface EvaluatorContext extends ServiceContext<Config> {
  pairStore: RpcClient<typeof PairStoreService>;
  /** Undefined where no teacher gateway is configured. */
  teacher: RpcClient<typeof TeacherGatewayService> | undefined;
  /** The deployer's; read only. */
  deployments: KV;
  looks: Looks;
  reports: ReportIndex;
  cancelled: CancelledRuns;
  journal: Journal;
  /** Signs reports; undefined where none is configured. */
  signingKey: Key | undefined;
}
