/** A snapshot's table: Parquet with zstd, one row a pair, ordered by pair_id. */
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
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
}

const text = (name: string): SchemaElement => ({
  name,
  type: 'BYTE_ARRAY',
  converted_type: 'UTF8',
  repetition_type: 'REQUIRED',
});
const integer = (name: string): SchemaElement => ({ name, type: 'INT32', repetition_type: 'REQUIRED' });
const long = (name: string): SchemaElement => ({ name, type: 'INT64', repetition_type: 'REQUIRED' });

const COLUMNS: readonly (readonly SchemaElement[])[] = [
  [text('pair_id')],
  [text('prompt_id')],
  [text('group_id')],
  [text('split')],
  [integer('weight')],
  [text('text')],
  [text('input_json')],
  [text('answer_json')],
  [text('soft')],
  [{ ...text('reference_json'), repetition_type: 'OPTIONAL' }],
  [integer('purpose')],
  [integer('source')],
  [text('origin')],
  [text('fingerprint')],
  [integer('sample_number')],
  [long('input_tokens')],
  [long('output_tokens')],
  [long('spent_micro_usd')],
  [long('duration_us')],
  [integer('calls')],
  [long('answered_at_us')],
  [text('settled')],
];

const SCHEMA: SchemaElement[] = [{ name: 'root', num_children: COLUMNS.length }, ...COLUMNS.flat()];

/** The values of a column as the writer wants them: 64-bit integers as BigInt. */
function valuesOf(rows: readonly SnapshotRow[], { name, type }: SchemaElement): unknown[] {
  const values = rows.map((row) => row[name as keyof SnapshotRow]);
  return type === 'INT64' ? values.map((value) => BigInt(value as number)) : values;
}

/** The Parquet file of all chunks of rows, as a stream; each chunk becomes a row group. The same rows in the same chunks give the same bytes. */
export async function* parquetOf(chunks: AsyncIterable<readonly SnapshotRow[]>): AsyncGenerator<Uint8Array> {
  const writer = new ByteWriter();
  const parquet = new ParquetWriter({
    writer,
    schema: SCHEMA,
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
    const columnData = COLUMNS.map(([column]) => ({ name: column!.name, data: valuesOf(rows, column!) }));
    parquet.write({ columnData, rowGroupSize: rows.length });
    yield written();
  }
  parquet.finish();
  yield written();
}

/** Opens a snapshot's Parquet file; the result reads rows `from` (inclusive) to `to` (exclusive). */
export async function rowReader(bytes: Uint8Array): Promise<(from: number, to: number) => Promise<SnapshotRow[]>> {
  const file: AsyncBuffer = {
    byteLength: bytes.byteLength,
    slice: (from, to) => Uint8Array.from(bytes.subarray(from, to)).buffer,
  };
  const metadata = await parquetMetadataAsync(file);
  const compressors = { ZSTD: (compressed: Uint8Array) => zstdDecompressSync(compressed) };
  return async (rowStart, rowEnd) => {
    const rows = await parquetReadObjects({ file, metadata, rowStart, rowEnd, compressors });
    return rows as unknown as SnapshotRow[];
  };
}
