import type { BlobStore } from '@understudy/service/blobs/blob-store';
import type { BusConnection } from '@understudy/service/bus/connection';
import type { Telemetry } from '@understudy/service/telemetry';
import type { IdKey } from '@understudy/task';
import type { Groups } from './grouping/groups.ts';
import type { Journal } from './journal.ts';
import type { Database } from './store/database.ts';
import type { Tasks } from './tasks.ts';

/** What handlers and routes work with. */
export interface PairStoreContext {
  readonly database: Database;
  readonly blobs: BlobStore;
  readonly telemetry: Telemetry;
  readonly journal: Journal;
  readonly tasks: Tasks;
  readonly groups: Groups;
  readonly bus: BusConnection;
  readonly idKey: IdKey;
  /** Looks for runs that can be sealed, now. */
  readonly wakeSealer: () => void;
}
