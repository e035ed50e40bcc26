import type { ForgettingService, PairStoreService } from '@understudy/contract/pair-store';
import type { TeacherGatewayService } from '@understudy/contract/teacher-gateway';
import type { InTurn } from '@understudy/service/in-turn';
import type { ServiceContext } from '@understudy/service/lifecycle';
import type { RpcClient } from '@understudy/service/rpc/client';
import type { Config } from './config.ts';
import type { Journal } from './journal.ts';
import type { RunStore } from './run-store.ts';
import type { Runs } from './runs.ts';
import type { TaskStore } from './task-store.ts';

/** What the parts of this service work with. */
export interface StepContext extends ServiceContext<Config> {
  tasks: TaskStore;
  runStore: RunStore;
  pairStore: RpcClient<typeof PairStoreService>;
  forgetting: RpcClient<typeof ForgettingService>;
  /** Ids that were erased while this process runs. */
  forgotten: Set<string>;
  /** Two at once would each write back what the other erases. */
  erasing: InTurn;
  /** Absent where no address is set: then no task can have its inputs written. */
  teacherGateway: RpcClient<typeof TeacherGatewayService> | undefined;
  journal: Journal;
}

/** The same with the runs themselves: what handlers and routes get. */
export interface PromptContext extends StepContext {
  runs: Runs;
}
