/** A snapshot's table: the file that its manifest names or, once inputs were forgotten, what took its place. */
import { zstdDecompressSync } from 'node:zlib';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { ERASED_DIGEST, rowDigest } from '@understudy/task/row-digest';
import { type AsyncBuffer, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { z } from 'zod';
import { Mismatch, parsedAs } from './steps.ts';

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
  /** Of what an erased row was; then text and input_json are empty. */
  [ERASED_DIGEST]: z.string().nullish(),
});
/** The columns that anything can be checked of. */
export type Row = z.infer<typeof Row>;

const Replacement = z.object({
  version: z.literal(1),
  table: z.string().nullable(),
  erasedRows: z.int(),
  rowsDigest: z.string(),
});

export interface Table {
  /** Undefined where the whole table was erased. */
  readonly bytes: Uint8Array | undefined;
  /** What rows were erased, by the note that pair-store left; undefined where none were. */
  readonly replaced: z.infer<typeof Replacement> | undefined;
}

/** @param digest as the manifest has it @throws BlobError, Mismatch */
export async function tableAt(blobs: BlobStore, digest: string): Promise<Table> {
  const name = `erased/${digest}.json`;
  const note = await blobs.getNamed(name);
  if (!note) return { bytes: await blobs.get('snapshots', digest), replaced: undefined };
  const replaced = parsedAs(Replacement, note, name);
  const bytes = replaced.table === null ? undefined : await blobs.get('snapshots', replaced.table);
  return { bytes, replaced };
}

/** Every row, with its digest: its own, or of an erased one what it says. @throws Mismatch where it is no table of pairs */
export async function* rowsOf(bytes: Uint8Array): AsyncGenerator<{ row: Row; digest: string }> {
  const file: AsyncBuffer = {
    byteLength: bytes.byteLength,
    slice: (from, to) => Uint8Array.from(bytes.subarray(from, to)).buffer,
  };
  const compressors = { ZSTD: (compressed: Uint8Array) => zstdDecompressSync(compressed) };
  try {
    const metadata = await parquetMetadataAsync(file);
    const columns = metadata.schema.slice(1).map(({ name }) => name);
    let rowStart = 0;
    for (const { num_rows } of metadata.row_groups) {
      const rowEnd = rowStart + Number(num_rows);
      const rows = await parquetReadObjects({ file, metadata, rowStart, rowEnd, compressors });
      for (const whole of rows) {
        const row = Row.parse(whole);
        yield { row, digest: row[ERASED_DIGEST] ?? rowDigest(whole, columns) };
      }
      rowStart = rowEnd;
    }
  } catch (cause) {
    throw new Mismatch('the table is no Parquet file of pairs', { cause });
  }
}
