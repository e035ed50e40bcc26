/** Goes through the snapshots of a task and erases the rows of forgotten inputs from their tables. */
import { type BlobStore, getIfThere } from '@understudy/service/blobs/blob-store';
import { openTable } from '../snapshot/columns.ts';
import { getManifest, type Manifest } from '../snapshot/manifest.ts';
import { keepReplacement, replacementOf } from '../snapshot/table-of.ts';
import { erasedTable, type RowsAbout, rowsAbout, type TouchedRows } from './erase-table.ts';

export interface TouchedSnapshot extends TouchedRows {
  readonly digest: string;
}

export interface ErasedSnapshots {
  readonly touched: readonly TouchedSnapshot[];
  /** Rows that were whole until now. */
  readonly rows: number;
  /** Tables that no manifest names, left by a process that died: they are deleted where they hold such a row. */
  readonly strays: number;
  /** Of the touched rows, where they are rows of snapshots. */
  readonly pairIds: ReadonlySet<string>;
}

/**
 * Each table is replaced in an order that a crash cannot harm: the new one, the note that points to it, and then the old one goes. Call it
 * while nobody seals.
 */
export async function eraseSnapshots(
  blobs: BlobStore,
  task: string,
  promptIds: ReadonlySet<string>,
): Promise<ErasedSnapshots> {
  const { manifests, tables } = await kindsOf(blobs);
  const named = new Set<string>();
  const touched: TouchedSnapshot[] = [];
  const pairIds = new Set<string>();
  let rows = 0;
  for (const { digest, manifest } of manifests) {
    const table = manifest.pairs.digest;
    const replacement = await replacementOf(blobs, table);
    for (const one of [table, replacement?.table]) if (one) named.add(one);
    if (manifest.task !== task) continue;
    const erased = await eraseFrom(blobs, table, promptIds);
    rows += erased.whole;
    for (const id of erased.pairIds) pairIds.add(id);
    if (erased.touched.train + erased.touched.dev + erased.touched.test > 0)
      touched.push({ digest, ...erased.touched });
    const now = await replacementOf(blobs, table);
    if (now?.table) named.add(now.table);
  }
  let strays = 0;
  for (const digest of tables) {
    if (named.has(digest) || !(await blobs.has('snapshots', digest))) continue;
    const { touched: held } = await rowsAbout(await openTable(await blobs.get('snapshots', digest)), promptIds);
    if (held.train + held.dev + held.test === 0) continue;
    await blobs.remove('snapshots', digest);
    strays += 1;
  }
  return { touched, rows, strays, pairIds };
}

/** Parquet begins and ends with it. */
const PARQUET_MAGIC = 'PAR1';

async function kindsOf(
  blobs: BlobStore,
): Promise<{ manifests: { digest: string; manifest: Manifest }[]; tables: string[] }> {
  const manifests: { digest: string; manifest: Manifest }[] = [];
  const tables: string[] = [];
  for await (const digest of blobs.list('snapshots', '')) {
    if (await isParquet(blobs, digest)) tables.push(digest);
    else manifests.push({ digest, manifest: await getManifest(blobs, digest) });
  }
  return { manifests, tables };
}

async function isParquet(blobs: BlobStore, digest: string): Promise<boolean> {
  for await (const chunk of blobs.read('snapshots', digest)) {
    return new TextDecoder().decode(chunk.subarray(0, PARQUET_MAGIC.length)) === PARQUET_MAGIC;
  }
  return false;
}

/** @param original digest of the table as its manifest names it */
async function eraseFrom(blobs: BlobStore, original: string, promptIds: ReadonlySet<string>): Promise<RowsAbout> {
  const before = await replacementOf(blobs, original);
  const leftBehind = before !== undefined && (await blobs.has('snapshots', original));
  const current = leftBehind && before.table === null ? original : (before?.table ?? original);
  if (before?.table === null && !leftBehind) return { touched: { train: 0, dev: 0, test: 0 }, pairIds: [], whole: 0 };
  const table = await openTable(await blobs.get('snapshots', current));
  const found = await rowsAbout(table, promptIds);
  if (found.whole > 0) {
    if (table.columns === undefined) {
      const { rows } = table;
      await keepReplacement(blobs, original, { version: 1, table: null, erasedRows: rows, rowsDigest: '' });
    } else {
      const erased = erasedTable(table, table.columns, promptIds);
      const digest = await blobs.put('snapshots', erased.content);
      const noted = { erasedRows: erased.erasedRows(), rowsDigest: before?.rowsDigest ?? erased.rowsDigest() };
      await keepReplacement(blobs, original, { version: 1, table: digest, ...noted });
    }
    await blobs.remove('snapshots', current);
  }
  // What a crash left between the note and the removal.
  if (leftBehind) await blobs.remove('snapshots', original);
  return found;
}

/** What trainings across folds found, where it tells of one of these pairs: a report that names it will find nothing. @returns how many went */
export async function eraseFolds(blobs: BlobStore, pairIds: ReadonlySet<string>): Promise<number> {
  let erased = 0;
  if (pairIds.size === 0) return erased;
  for await (const digest of blobs.list('folds', '')) {
    const found = await getIfThere(blobs, 'folds', digest);
    const ids = new TextDecoder().decode(found).match(/[0-9a-f]{64}/g) ?? [];
    if (!ids.some((id) => pairIds.has(id))) continue;
    await blobs.remove('folds', digest);
    erased += 1;
  }
  return erased;
}
