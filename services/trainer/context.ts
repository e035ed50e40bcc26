import type { Choice } from '@understudy/graph';
import type { ServiceContext } from '@understudy/service/lifecycle';
import type { Key } from '@understudy/service/signatures/keys';
import type { Cancellations } from './cancellations.ts';
import type { Config } from './config.ts';
import type { Journal } from './journal.ts';
import type { Machine } from './search/plan.ts';

/** What the parts of this service work with. */
export interface TrainerContext extends ServiceContext<Config> {
  cancellations: Cancellations;
  journal: Journal;
  machine: Machine;
  /** What trains, and where. */
  choice: Choice;
  /** Signs students; undefined where none is configured. */
  signingKey: Key | undefined;
}
