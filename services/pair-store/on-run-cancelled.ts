import type { Event } from '@understudy/service/bus/settle';
import type { PairStoreContext } from './context.ts';

/** A cancelled run is not sealed: training on it would be spending. Its pairs stay, they are paid for. */
export async function onRunCancelled(context: PairStoreContext, { payload }: Event<'run.cancelled'>): Promise<void> {
  await context.database.transaction((sql) =>
    sql.query(
      `insert into runs (run_id, task, cancelled) values ($1, $2, true)
       on conflict (run_id) do update set cancelled = true`,
      [payload.runId, payload.task],
    ),
  );
}
