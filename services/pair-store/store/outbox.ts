/** Events that were decided together with rows: stored in the same transaction, published afterwards, in order. */

import type { EventType } from '@understudy/contract';
import { type EncodedEvent, encodeEvent, type OutgoingEvent } from '@understudy/service/bus/event';
import type { Publisher } from '@understudy/service/bus/publish';
import { MAX_OUTBOX_EVENTS } from '../limits.ts';
import type { Database, Sql } from './database.ts';

interface OutboxRow {
  id: number;
  event_id: string;
  type: EventType;
  task: string;
  time: string;
  traceparent: string | null;
  data: Uint8Array;
}

/** Puts an event into the outbox; it goes out once the transaction is committed. */
export async function enqueue<T extends EventType>(sql: Sql, event: OutgoingEvent<T>): Promise<void> {
  const { id, type, task, time, traceparent, data } = encodeEvent(event);
  await sql.query(
    `insert into outbox (event_id, type, task, time, traceparent, data) values ($1, $2, $3, $4, $5, $6)
     on conflict (event_id) do nothing`,
    [id, type, task, time, traceparent ?? null, data],
  );
}

/**
 * Publishes what waits in the outbox, one instance at a time. An event that was published by an instance which died before
 * it could say so is published again under the same message id.
 * @returns true when nothing waits any more
 */
export async function publishOutbox(database: Database, publisher: Publisher): Promise<boolean> {
  const emptied = await database.exclusively('understudy pair-store outbox', async () => {
    const rows = await database.query<OutboxRow>(
      `select id, event_id, type, task, time, traceparent, data from outbox
       where sent_at is null order by id limit ${MAX_OUTBOX_EVENTS}`,
    );
    for (const row of rows) {
      await publisher.publishEncoded(encodedOf(row));
      await database.transaction((sql) => sql.query('update outbox set sent_at = now() where id = $1', [row.id]));
    }
    return rows.length < MAX_OUTBOX_EVENTS;
  });
  return emptied ?? true;
}

const encodedOf = ({ event_id: id, type, task, time, traceparent, data }: OutboxRow): EncodedEvent => ({
  id,
  type,
  task,
  time,
  traceparent: traceparent ?? undefined,
  data,
});
