import { sha256Hex } from '@understudy/task';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { databaseKinds, type TestDatabase } from '../testing.ts';
import { closeBatch, findSealable, lookAtDue } from './batches.ts';
import type { Database } from './database.ts';

describe.each(databaseKinds)('batches in $name', ({ skip, start }) => {
  if (skip) return it.skip(skip);
  let server: Awaited<ReturnType<typeof start>>;
  let place: TestDatabase;
  let database: Database;
  beforeAll(async () => {
    server = await start();
    place = await server.newDatabase();
    database = await place.open();
  });
  afterAll(async () => {
    await place?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  it('of a hundred thousand prompts are closed and completed, without a temporary file of gigabytes', async () => {
    const count = 100_000;
    const promptIds = Array.from({ length: count }, (_, n) => sha256Hex(`prompt ${n}`));
    const about = { runId: 'large', batch: 1, task: 't', taskDigest: 'd', manifestDigest: 'm', traceparent: undefined };
    await closeBatch(database, { ...about, promptIds, seal: true });
    const state = async () => {
      const [row] = await database.query('select waiting, complete_from, cardinality(waiting_for) as ids from batches');
      return row;
    };
    expect(await state()).toEqual({ waiting: count, complete_from: count, ids: count });
    const answer = (from: number, to: number) =>
      database.transaction(async (sql) => {
        await sql.query(
          `insert into outcomes (run_id, prompt_id, pair_id, cached, spent_micro_usd, calls, duration_us)
           select 'large', decode(id, 'hex'), 'pair', false, 0, 1, 1 from unnest($1::text[]) as id`,
          [promptIds.slice(from, to)],
        );
        await sql.query('update runs set answered = answered + $1', [to - from]);
      });
    await answer(0, count - 1);
    await database.script('update runs set declined = 1');
    await lookAtDue(database);
    expect(await state()).toEqual({ waiting: 1, complete_from: count + 1, ids: 1 });
    expect(await findSealable(database)).toBeUndefined();
    await answer(count - 1, count);
    await lookAtDue(database);
    expect(await state()).toEqual({ waiting: 0, complete_from: count + 1, ids: 0 });
    expect(await findSealable(database)).toMatchObject({ run_id: 'large', batch: 1, seal: 1 });
  });
});
