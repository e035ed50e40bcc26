import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { traceparentOf } from '@understudy/service/telemetry';
import { compileTask } from '@understudy/task';
import { rowDigest, TableDigest } from '@understudy/task/row-digest';
import type { PairStoreContext } from '../context.ts';
import { screen } from '../screening/screen.ts';
import { findSealable, lookAtDue, type Sealable } from '../store/batches.ts';
import type { Database } from '../store/database.ts';
import { enqueue } from '../store/outbox.ts';
import { COLUMN_NAMES, parquetOf, type SnapshotRow } from './columns.ts';
import { type Manifest, putManifest, refOf } from './manifest.ts';
import {
  countDecided,
  countQuarantined,
  type Selection,
  select,
  snapshotRows,
  testGroups,
  type Wanted,
} from './read-pairs.ts';

type SealContext = Pick<PairStoreContext, 'database' | 'blobs' | 'tasks' | 'telemetry' | 'journal'>;

/** Who holds it is the only one that writes snapshots, or erases from them. */
export const SEALER = 'understudy pair-store sealer';

/**
 * Seals the oldest complete batch that asks for it: snapshot into the blob store, then, in one transaction, the mark and the
 * `pairs.sealed` to be published. Whatever dies in between is done again; only the marked snapshot counts.
 * @returns true when there was one
 */
export async function sealNext(context: SealContext): Promise<boolean> {
  const sealed = await context.database.exclusively(SEALER, async () => {
    await lookAtDue(context.database);
    const sealable = await findSealable(context.database);
    if (sealable) {
      const { run_id: run, task, traceparent } = sealable;
      await context.telemetry.span('seal snapshot', traceparent ?? undefined, { run, task }, (span) =>
        seal(context, sealable, traceparentOf(span)),
      );
    }
    return sealable !== undefined;
  });
  return sealed ?? false;
}

async function seal(
  { database, blobs, tasks, journal }: SealContext,
  sealable: Sealable,
  traceparent: string,
): Promise<void> {
  const { run_id: runId, batch, task, task_digest: taskDigest, seal: number } = sealable;
  const started = performance.now();
  const selection = await select(database, task, runId);
  const { parseAnswer } = compileTask((await tasks.get(task, taskDigest)).task);
  const fits = (answer: string, text: string) => parseAnswer(answer, text).ok;
  const { digest, manifest } = await makeSnapshot(database, blobs, selection, fits);
  await database.transaction(async (sql) => {
    const marked = await sql.query(
      `update batches set sealed_at = now(), snapshot_digest = $3
       where run_id = $1 and batch = $2 and sealed_at is null returning batch`,
      [runId, batch, digest],
    );
    if (marked.length === 0) return;
    const [counts] = await sql.query<{ answered: number; declined: number }>(
      `select count(pair_id)::int as answered, count(decline_reason)::int as declined from outcomes where run_id = $1`,
      [runId],
    );
    await enqueue(sql, {
      type: 'pairs.sealed',
      entity: `seal ${number}`,
      traceparent,
      payload: { runId, task, taskDigest, snapshot: refOf(digest, manifest), seal: number, ...counts },
    });
  });
  journal.sealed(sealable, digest, manifest, performance.now() - started);
}

/** Writes the pairs and the manifest of a snapshot. The same selection gives the same digest. */
export async function makeSnapshot(
  database: Database,
  blobs: BlobStore,
  selection: Selection,
  fits: Wanted['fits'],
): Promise<{ digest: string; manifest: Manifest }> {
  const groups = await testGroups(database, selection);
  const { caps, capped } = await screen(database, selection);
  const splits = { train: 0, dev: 0, test: 0 };
  const settled = { pairs: 0 };
  const table = new TableDigest();
  const rows = counted(snapshotRows(database, selection, { groups, capped, fits }), splits, settled, table);
  const pairsDigest = await blobs.put('snapshots', parquetOf(rows));
  const { train, dev, test } = splits;
  const testDuplicates = [...groups.values()].reduce((sum, { pairs }) => sum + pairs - 1, 0);
  const manifest: Manifest = {
    version: 2,
    task: selection.task,
    fingerprint: selection.fingerprint,
    pairs: { digest: pairsDigest, rowsDigest: table.hex(), format: 'parquet', codec: 'zstd', rows: train + dev + test },
    splits,
    leftOut: {
      quarantined: await countQuarantined(database, selection),
      testDuplicates,
      capped: capped.size,
      ...(await countDecided(database, selection)),
    },
    settled: settled.pairs,
    caps,
  };
  return { digest: await putManifest(blobs, manifest), manifest };
}

async function* counted(
  chunks: AsyncIterable<SnapshotRow[]>,
  splits: Manifest['splits'],
  settled: { pairs: number },
  table: TableDigest,
): AsyncGenerator<SnapshotRow[]> {
  for await (const rows of chunks) {
    for (const row of rows) {
      splits[row.split] += 1;
      if (row.settled !== '') settled.pairs += 1;
      table.add(rowDigest({ ...row }, COLUMN_NAMES));
    }
    yield rows;
  }
}
