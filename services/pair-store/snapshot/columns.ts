/** A snapshot's table: Parquet with zstd, one row a pair, ordered by pair_id. */
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { ERASED_DIGEST } from '@understudy/task/row-digest';
import { type AsyncBuffer, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { ByteWriter, ParquetWriter, type SchemaElement } from 'hyparquet-writer';
import type { StoredPair } from '../store/stored-pair.ts';

export interface SnapshotRow extends StoredPair {
  readonly group_id: string;
  readonly split: 'train' | 'dev' | 'test';
  /** Requests that this pair stands for; in test the sum over its group. */
  readonly weight: number;
  /** The decision that its answer is of, where a person settled it; else empty. */
  readonly settled: string;
  /** Chance (hex) that makes the row's digest unguessable; erased with the row. Absent in tables of the first format. */
  readonly salt?: string;
  /** Digest of what this row was before it was erased; null in a row that is whole. */
  readonly erased_digest?: string | null;
}

const text = (name: string): SchemaElement => ({
  name,
  type: 'BYTE_ARRAY',
  converted_type: 'UTF8',
  repetition_type: 'REQUIRED',
});
const integer = (name: string): SchemaElement => ({ name, type: 'INT32', repetition_type: 'REQUIRED' });
const long = (name: string): SchemaElement => ({ name, type: 'INT64', repetition_type: 'REQUIRED' });

const COLUMNS: readonly SchemaElement[] = [
  text('pair_id'),
  text('prompt_id'),
  text('group_id'),
  text('split'),
  integer('weight'),
  text('text'),
  text('input_json'),
  text('answer_json'),
  text('soft'),
  { ...text('reference_json'), repetition_type: 'OPTIONAL' },
  integer('purpose'),
  integer('source'),
  text('origin'),
  text('fingerprint'),
  integer('sample_number'),
  long('input_tokens'),
  long('output_tokens'),
  long('spent_micro_usd'),
  long('duration_us'),
  integer('calls'),
  long('answered_at_us'),
  text('settled'),
  text('salt'),
  { ...text(ERASED_DIGEST), repetition_type: 'OPTIONAL' },
];

/** What `rowDigest` is computed of in tables of this format. */
export const COLUMN_NAMES = COLUMNS.map(({ name }) => name);

/** The values of a column as the writer wants them: 64-bit integers as BigInt. */
function valuesOf(rows: readonly SnapshotRow[], { name, type }: SchemaElement): unknown[] {
  const values = rows.map((row) => row[name as keyof SnapshotRow]);
  return type === 'INT64' ? values.map((value) => BigInt(value as number)) : values;
}

/** The Parquet file of all chunks of rows, as a stream; each chunk becomes a row group. The same rows in the same chunks give the same bytes. */
export async function* parquetOf(
  chunks: AsyncIterable<readonly SnapshotRow[]>,
  columns = COLUMNS,
): AsyncGenerator<Uint8Array> {
  const writer = new ByteWriter();
  const parquet = new ParquetWriter({
    writer,
    schema: [{ name: 'root', num_children: columns.length }, ...columns],
    codec: 'ZSTD',
    compressors: { ZSTD: (bytes) => zstdCompressSync(bytes) },
    createdBy: 'understudy',
  });
  const written = () => {
    const bytes = writer.getBytes().slice();
    writer.index = 0;
    return bytes;
  };
  for await (const rows of chunks) {
    const columnData = columns.map((column) => ({ name: column.name, data: valuesOf(rows, column) }));
    parquet.write({ columnData, rowGroupSize: rows.length });
    yield written();
  }
  parquet.finish();
  yield written();
}

/** A table as it is in the blob store. */
export interface Table {
  readonly rows: number;
  /** Undefined where it is of a format with lists in columns, which this version does not write. */
  readonly columns: readonly SchemaElement[] | undefined;
  /** Rows `from` (inclusive) to `to` (exclusive). */
  read(from: number, to: number): Promise<SnapshotRow[]>;
}

/** Opens a snapshot's Parquet file. */
export async function openTable(bytes: Uint8Array): Promise<Table> {
  const file: AsyncBuffer = {
    byteLength: bytes.byteLength,
    slice: (from, to) => Uint8Array.from(bytes.subarray(from, to)).buffer,
  };
  const metadata = await parquetMetadataAsync(file);
  const compressors = { ZSTD: (compressed: Uint8Array) => zstdDecompressSync(compressed) };
  const [, ...columns] = metadata.schema;
  return {
    rows: Number(metadata.num_rows),
    columns: columns.some(({ type }) => type === undefined) ? undefined : columns,
    read: async (rowStart, rowEnd) => {
      const rows = await parquetReadObjects({ file, metadata, rowStart, rowEnd, compressors });
      return rows as unknown as SnapshotRow[];
    },
  };
}
