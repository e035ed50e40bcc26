import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib';
import { BlobError } from '@understudy/service/blobs/blob-store';
import type { S3Settings } from '@understudy/service/blobs/s3-object';
import { messageOf } from '@understudy/service/errors';
import type { Source } from '@understudy/task';
import {
  type AsyncBuffer,
  type Compressors,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
  type RowGroup,
  type SchemaTree,
} from 'hyparquet';
import { fieldPicker, nameInSource } from './fields.ts';
import { MAX_PARQUET_FOOTER_BYTES, MAX_ROW_GROUP_BYTES } from './limits.ts';
import { bytesOf, openPlace, type Place, placeName } from './place.ts';
import { type RecordStream, SourceError } from './source.ts';

type ParquetSource = Extract<Source, { kind: 'parquet' }>;

const EXPECTED = 'a Parquet file';

/** One input a row. Only the columns that the task names are read; they must be flat columns of text. */
export async function* readParquet(
  source: ParquetSource,
  inputFields: readonly string[],
  s3: S3Settings = {},
): RecordStream {
  const name = placeName(source.path);
  await using place = await openPlace(source.path, EXPECTED, s3);
  const file = bufferOver(place);
  const metadata = await metadataOf(name, place, file);
  const texts = [...new Set(inputFields.map((field) => nameInSource(source, field)))];
  const reference = source.reference === undefined ? [] : [source.reference.field];
  const columns = [...new Set([...texts, ...reference])];
  checkColumns(name, parquetSchema(metadata), columns, texts);
  const pick = fieldPicker(source, inputFields);
  let row = 0;
  for (const [index, group] of metadata.row_groups.entries()) {
    checkSize(name, index, group, columns);
    const rows = await rowsOf(name, index, { file, metadata, columns, from: row, to: row + Number(group.num_rows) });
    for (const record of rows) {
      row += 1;
      yield recordOf(`${name}:${row}`, record, pick);
    }
  }
}

function recordOf(position: string, row: Record<string, unknown>, pick: ReturnType<typeof fieldPicker>) {
  const broken = Object.entries(row).find(([, value]) => value instanceof NotUtf8);
  if (broken) return { position, fault: `column ${broken[0]}: expected UTF-8, got other bytes; convert them` };
  // A null is a value that is not there.
  const present = Object.entries(row).filter(([, value]) => value !== null && value !== undefined);
  return { position, ...pick(Object.fromEntries(present.map(([key, value]) => [key, plain(value)]))) };
}

/** Whole numbers of 64 bits come as bigint, which no JSON holds. */
const plain = (value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value);

/** A text that is none. */
class NotUtf8 {}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const parsers = {
  stringFromBytes: (bytes: Uint8Array): unknown => {
    try {
      return bytes && utf8.decode(bytes);
    } catch {
      return new NotUtf8();
    }
  },
  // JSON columns hold text, and the task takes it as it is.
  jsonFromBytes: (bytes: Uint8Array): unknown => parsers.stringFromBytes(bytes),
};

/** Node's own, and snappy from hyparquet; what is left is rare. */
const compressors: Compressors = {
  GZIP: (input, length) => gunzipSync(input, { maxOutputLength: Math.max(1, length) }),
  ZSTD: (input, length) => zstdDecompressSync(input, { maxOutputLength: Math.max(1, length) }),
  BROTLI: (input, length) => brotliDecompressSync(input, { maxOutputLength: Math.max(1, length) }),
};

async function metadataOf(name: string, place: Place, file: AsyncBuffer): Promise<FileMetaData> {
  if (place.sizeBytes === 0) throw new SourceError(name, `expected ${EXPECTED}, got an empty file; add records`);
  try {
    const [start, end] = [await bytesOf(place, 0, Math.min(4, place.sizeBytes)), await tailOf(place)];
    const footerBytes = end.readUInt32LE(0);
    if (start.toString('latin1') !== 'PAR1') throw new TypeError('it does not begin with PAR1');
    if (end.toString('latin1', 4) !== 'PAR1') throw new TypeError('it does not end with PAR1: it is cut off');
    if (footerBytes > MAX_PARQUET_FOOTER_BYTES) {
      throw new TypeError(`its footer has ${footerBytes} bytes, more than ${MAX_PARQUET_FOOTER_BYTES}`);
    }
    return await parquetMetadataAsync(file, { parsers });
  } catch (error) {
    throw unusable(name, `expected ${EXPECTED}, but it cannot be read`, error);
  }
}

async function tailOf(place: Place): Promise<Buffer> {
  if (place.sizeBytes < 12) throw new TypeError(`it has only ${place.sizeBytes} bytes`);
  return bytesOf(place, place.sizeBytes - 8, place.sizeBytes);
}

/** @throws SourceError when a column is missing, nested, or (for inputs) no text */
function checkColumns(name: string, schema: SchemaTree, columns: readonly string[], texts: readonly string[]): void {
  const known = new Map(schema.children.map((child) => [child.element.name, child]));
  const missing = columns.filter((column) => !known.has(column));
  const got = [...known.keys()].join(', ').slice(0, 300);
  if (missing.length > 0) {
    const advice = `add ${missing.join(', ')}, or name other columns under fields`;
    throw new SourceError(name, `expected the columns ${columns.join(', ')}, got ${got}; ${advice}`);
  }
  for (const column of columns) {
    const { element, children } = known.get(column) as SchemaTree;
    const flat = children.length === 0 && element.repetition_type !== 'REPEATED';
    const expected = texts.includes(column) ? 'a flat column of text' : 'a flat column';
    if (!flat) {
      throw new SourceError(
        name,
        `column ${column}: expected ${expected}, got a nested one (list, map or struct); flatten it`,
      );
    }
    if (texts.includes(column) && (element.type !== 'BYTE_ARRAY' || element.logical_type?.type === 'DECIMAL')) {
      throw new SourceError(name, `column ${column}: expected ${expected}, got ${element.type}; convert it to strings`);
    }
  }
}

/** A row group is decoded in one piece. */
function checkSize(name: string, index: number, { columns: chunks }: RowGroup, columns: readonly string[]): void {
  let bytes = 0;
  for (const { meta_data: meta } of chunks) {
    if (meta && columns.includes(meta.path_in_schema[0] ?? '')) bytes += Number(meta.total_uncompressed_size);
  }
  if (bytes <= MAX_ROW_GROUP_BYTES) return;
  throw new SourceError(
    name,
    `row group ${index + 1}: expected at most ${MAX_ROW_GROUP_BYTES} bytes in the columns ${columns.join(', ')}, got ${bytes}; write smaller row groups`,
  );
}

interface RowRange {
  file: AsyncBuffer;
  metadata: FileMetaData;
  columns: string[];
  from: number;
  to: number;
}

async function rowsOf(name: string, index: number, { file, metadata, columns, from, to }: RowRange) {
  try {
    return await parquetReadObjects({ file, metadata, columns, rowStart: from, rowEnd: to, compressors, parsers });
  } catch (error) {
    throw unusable(name, `row group ${index + 1} cannot be read`, error);
  }
}

/** What reading threw; trouble on the way to a bucket stays what it is, because it passes. */
function unusable(name: string, what: string, error: unknown): Error {
  if (error instanceof BlobError || error instanceof SourceError) return error;
  return new SourceError(name, `${what}: ${messageOf(error)}; write the file again`, error);
}

function bufferOver(place: Place): AsyncBuffer {
  return {
    byteLength: place.sizeBytes,
    slice: async (from, to = place.sizeBytes) => {
      const { buffer, byteOffset, length } = await bytesOf(place, from, to);
      return buffer.slice(byteOffset, byteOffset + length) as ArrayBuffer;
    },
  };
}
