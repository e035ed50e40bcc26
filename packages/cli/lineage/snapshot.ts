/** A snapshot: its manifest, its table, and that each row is what its own digests say. */
import { zstdDecompressSync } from 'node:zlib';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import type { Description } from '@understudy/student';
import type { CompiledTask } from '@understudy/task';
import { type AsyncBuffer, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { z } from 'zod';
import { count } from '../format.ts';
import { RowCheck } from './rows.ts';
import { behind, expectSame, Mismatch, parsedAs, type Step, type Taken, take } from './steps.ts';

const splits = z.object({ train: z.int(), dev: z.int(), test: z.int() });

const Manifest = z.object({
  version: z.literal(1),
  task: z.string(),
  fingerprint: z.string(),
  pairs: z.object({ digest: z.string(), rows: z.int() }),
  splits,
});
export type Manifest = z.infer<typeof Manifest>;

const Row = z.object({
  pair_id: z.string(),
  prompt_id: z.string(),
  group_id: z.string(),
  split: z.string(),
  text: z.string(),
  input_json: z.string(),
  purpose: z.int(),
  fingerprint: z.string(),
  sample_number: z.int(),
  /** A person's decision; none in snapshots of earlier versions. */
  settled: z.string().default(''),
});
/** The columns that anything can be checked of. */
export type Row = z.infer<typeof Row>;

export interface Snapshot {
  readonly manifest: Manifest;
  readonly table: Uint8Array;
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
    const table = await blobs.get('snapshots', manifest.pairs.digest);
    const { rows, digest } = manifest.pairs;
    const says = `${count(rows)} pairs of ${task} in ${digest.slice(0, 12)}, fingerprint ${fingerprint.slice(0, 12)}`;
    return { says, found: { manifest, table } };
  });

/** What the rows say of prompts, pairs and splits. `task` is needed for the texts of the prompts alone. */
export async function takeRows({ manifest, table }: Snapshot, task: CompiledTask | undefined): Promise<Step[]> {
  const check = new RowCheck(manifest, task);
  const read = await take('pair', undefined, async () => {
    for await (const row of rowsOf(table)) check.add(row);
    return { says: '', found: true };
  });
  const unread = 'the table cannot be read';
  if (!read.found) return [behind('prompt', unread), read.step, behind('split', unread)];
  return check.steps();
}

async function* rowsOf(table: Uint8Array): AsyncGenerator<Row> {
  const file: AsyncBuffer = {
    byteLength: table.byteLength,
    slice: (from, to) => Uint8Array.from(table.subarray(from, to)).buffer,
  };
  const compressors = { ZSTD: (compressed: Uint8Array) => zstdDecompressSync(compressed) };
  try {
    const metadata = await parquetMetadataAsync(file);
    const columns = Object.keys(Row.shape).filter((column) => metadata.schema.some(({ name }) => name === column));
    let rowStart = 0;
    for (const { num_rows } of metadata.row_groups) {
      const rowEnd = rowStart + Number(num_rows);
      const rows = await parquetReadObjects({ file, metadata, columns, rowStart, rowEnd, compressors });
      for (const row of rows) yield Row.parse(row);
      rowStart = rowEnd;
    }
  } catch (cause) {
    throw new Mismatch('the table is no Parquet file of pairs', { cause });
  }
}
