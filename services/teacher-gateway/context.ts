import type { ServiceContext } from '@understudy/service/lifecycle';
import type { Answers } from './answers.ts';
import type { Config } from './config.ts';
import type { Events } from './events.ts';
import type { KnownTasks } from './known-tasks.ts';
import type { Ledger } from './ledger/ledger.ts';
import type { PairLookup } from './pair-lookup.ts';
import type { RunScopes } from './run-scopes.ts';

/** What calls to teachers are made with. */
export interface GatewayContext extends Pick<ServiceContext<Config>, 'config' | 'telemetry' | 'publisher'> {
  events: Events;
  ledger: Ledger;
  tasks: KnownTasks;
  scopes: RunScopes;
}

/** What handlers and routes work with. */
export interface AnsweringContext extends GatewayContext {
  answers: Answers;
  lookup: PairLookup;
  /** Live requests under way. */
  live: { requests: number };
}
