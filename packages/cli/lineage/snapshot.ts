/** A snapshot: its manifest, its table, and that each row is what its own digests say. */
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import type { Description } from '@understudy/student';
import type { CompiledTask } from '@understudy/task';
import { TableDigest } from '@understudy/task/row-digest';
import { z } from 'zod';
import { count } from '../format.ts';
import { type HeldKey, RowCheck } from './rows.ts';
import { behind, expectSame, Mismatch, parsedAs, type Step, type Taken, take } from './steps.ts';
import { rowsOf, type Table, tableAt } from './table.ts';

const splits = z.object({ train: z.int(), dev: z.int(), test: z.int() });

const Manifest = z.object({
  version: z.literal([1, 2]),
  task: z.string(),
  fingerprint: z.string(),
  /** The first format has no digest of its rows: what is left of a table cannot be held against it. */
  pairs: z.object({ digest: z.string(), rows: z.int(), rowsDigest: z.string().optional() }),
  splits,
});
export type Manifest = z.infer<typeof Manifest>;

export interface Snapshot {
  readonly manifest: Manifest;
  readonly table: Table;
}

export const takeSnapshot = (blobs: BlobStore, { lineage }: Description): Promise<Taken<Snapshot>> =>
  take('snapshot', lineage.snapshotDigest, async () => {
    const what = `snapshots/${lineage.snapshotDigest}`;
    const manifest = parsedAs(Manifest, await blobs.get('snapshots', lineage.snapshotDigest), what);
    const { task, fingerprint } = manifest;
    expectSame(
      'the snapshot that the student names',
      { task: lineage.task.name, fingerprint: lineage.fingerprint },
      manifest,
    );
    const table = await tableAt(blobs, manifest.pairs.digest);
    const { rows, digest } = manifest.pairs;
    const says = `${count(rows)} pairs of ${task} in ${digest.slice(0, 12)}, fingerprint ${fingerprint.slice(0, 12)}`;
    return {
      ...stateOf({ manifest, table }),
      says: `${says}${await whatWasErased({ manifest, table })}`,
      found: { manifest, table },
    };
  });

/** What the rows say of prompts, pairs and splits. `task` is needed for the texts of the prompts alone. */
export async function takeRows(
  { manifest, table }: Snapshot,
  task: CompiledTask | undefined,
  idKey: HeldKey,
): Promise<Step[]> {
  const { bytes } = table;
  if (!bytes) return (['prompt', 'pair', 'split'] as const).map((step) => ({ step, state: 'erased', says: allErased }));
  const check = new RowCheck(manifest, task, idKey);
  const read = await take('pair', undefined, async () => {
    for await (const { row } of rowsOf(bytes)) check.add(row);
    return { says: '', found: true };
  });
  const unread = 'the table cannot be read';
  if (!read.found) return [behind('prompt', unread), read.step, behind('split', unread)];
  return check.steps();
}

const allErased = 'erased as a whole: it held forgotten inputs, and is of an old format';

/** Rows were erased: what is left is held against the digest of all rows, if the manifest has one. */
function stateOf({ manifest, table }: Snapshot): { state?: Step['state'] } {
  if (!table.replaced) return {};
  return { state: manifest.pairs.rowsDigest === undefined && table.bytes ? 'unverified' : 'erased' };
}

/** @throws Mismatch where rows, the erased ones by what they say, are not those of the manifest */
async function whatWasErased({ manifest, table: { bytes, replaced } }: Snapshot): Promise<string> {
  if (!bytes) return `; ${allErased}`;
  const { rowsDigest } = manifest.pairs;
  const digest = new TableDigest();
  for await (const row of rowsOf(bytes)) digest.add(row.digest);
  const came = digest.hex();
  if (rowsDigest !== undefined && came !== rowsDigest) {
    throw new Mismatch(`the manifest says that its rows have the digest ${rowsDigest}, they have ${came}`);
  }
  if (!replaced) return '';
  if (came !== replaced.rowsDigest) {
    throw new Mismatch(
      `the note on what was erased says that the rows have the digest ${replaced.rowsDigest}, they have ${came}`,
    );
  }
  const erased = `; ${count(replaced.erasedRows)} rows erased`;
  return rowsDigest === undefined ? `${erased}, and of a format that cannot be verified without them` : erased;
}
