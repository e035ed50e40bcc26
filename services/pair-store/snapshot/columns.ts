/** A snapshot's table: Parquet with zstd, one row a pair, ordered by pair_id. What depends on when or how it was asked is left out. */
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { parquetReadObjects } from 'hyparquet';
import { ByteWriter, ParquetWriter, type SchemaElement } from 'hyparquet-writer';

export interface SnapshotRow {
  readonly pair_id: string;
  readonly prompt_id: string;
  readonly group_id: string;
  readonly split: 'train' | 'dev' | 'test';
  /** Requests that this pair stands for; in test the sum over its group. */
  readonly weight: number;
  readonly text: string;
  readonly input_json: string;
  readonly answer_json: string;
  readonly label: string;
  /** Of the labels in the schema's order; empty where the teacher gives none. */
  readonly probabilities: readonly number[];
  readonly reference_json: string | null;
  /** Numbers of the contract's enums. */
  readonly purpose: number;
  readonly source: number;
  readonly fingerprint: string;
  readonly sample_number: number;
}

const text = (name: string): SchemaElement => ({
  name,
  type: 'BYTE_ARRAY',
  converted_type: 'UTF8',
  repetition_type: 'REQUIRED',
});
const integer = (name: string): SchemaElement => ({ name, type: 'INT32', repetition_type: 'REQUIRED' });

const COLUMNS: readonly (readonly SchemaElement[])[] = [
  [text('pair_id')],
  [text('prompt_id')],
  [text('group_id')],
  [text('split')],
  [integer('weight')],
  [text('text')],
  [text('input_json')],
  [text('answer_json')],
  [text('label')],
  [
    { name: 'probabilities', repetition_type: 'REQUIRED', num_children: 1, converted_type: 'LIST' },
    { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
    { name: 'element', type: 'FLOAT', repetition_type: 'REQUIRED' },
  ],
  [{ ...text('reference_json'), repetition_type: 'OPTIONAL' }],
  [integer('purpose')],
  [integer('source')],
  [text('fingerprint')],
  [integer('sample_number')],
];

const SCHEMA: SchemaElement[] = [{ name: 'root', num_children: COLUMNS.length }, ...COLUMNS.flat()];
const NAMES = COLUMNS.map(([column]) => column!.name as keyof SnapshotRow);

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
    const columnData = NAMES.map((name) => ({ name, data: rows.map((row) => row[name]) as unknown[] }));
    parquet.write({ columnData, rowGroupSize: rows.length });
    yield written();
  }
  parquet.finish();
  yield written();
}

/** Reads rows `from` (inclusive) to `to` (exclusive) of a snapshot's Parquet file. */
export async function readRows(file: Uint8Array, from: number, to: number): Promise<SnapshotRow[]> {
  const buffer = file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength) as ArrayBuffer;
  const rows = await parquetReadObjects({
    file: buffer,
    rowStart: from,
    rowEnd: to,
    compressors: { ZSTD: (bytes) => zstdDecompressSync(bytes) },
  });
  return rows as unknown as SnapshotRow[];
}
