import type { Pair } from '@understudy/contract';
import type { Sql } from './database.ts';
import { pairOf, STORED_PAIR, type StoredPair } from './stored-pair.ts';

/** Those of a task's pairs that are stored, in no particular order. */
export async function findPairs(sql: Sql, task: string, pairIds: readonly string[]): Promise<Pair[]> {
  // The task is compared here: as a condition of the query it tempts the planner into reading all of the task's pairs.
  const rows = await sql.query<StoredPair & { task: string }>(
    `select a.task, ${STORED_PAIR} from pairs a join prompts p using (prompt_id) where a.pair_id = any ($1::bytea[])`,
    [pairIds.map((id) => Buffer.from(id, 'hex'))],
  );
  return rows.filter((row) => row.task === task).map(pairOf);
}
