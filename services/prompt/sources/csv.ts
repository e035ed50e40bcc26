import { pipeline, Readable } from 'node:stream';
import type { S3Settings } from '@understudy/service/blobs/s3-object';
import type { Source } from '@understudy/task';
import { type CsvError, parse } from 'csv-parse';
import { fieldPicker, nameInSource } from './fields.ts';
import { MAX_LINE_BYTES } from './limits.ts';
import { placeName } from './place.ts';
import { type RecordStream, SourceError, type SourceRecord } from './source.ts';
import { openText } from './text-file.ts';

type CsvSource = Extract<Source, { kind: 'csv' }>;
interface Row {
  record: Record<string, string>;
  info: { lines: number };
}

/**
 * Comma-separated values (RFC 4180) with a header line. A row with too many or too few values is a bad record; a
 * broken quote ends the reading, because nothing after it can be told apart.
 */
export async function* readCsv(source: CsvSource, inputFields: readonly string[], s3: S3Settings = {}): RecordStream {
  const file = placeName(source.path);
  await using text = await openText(source.path, 'comma-separated values with a header line', s3);
  const pick = fieldPicker(source, inputFields);
  const faults: SourceRecord[] = [];
  const rows = parse({
    bom: true,
    columns: (header: string[]) => checkedHeader(source, header, inputFields),
    info: true,
    max_record_size: MAX_LINE_BYTES,
    skip_empty_lines: true,
    skip_records_with_error: true,
    on_skip: (error) => {
      if (error?.code !== 'CSV_RECORD_INCONSISTENT_COLUMNS') throw brokenFrom(file, error);
      faults.push({ position: `${file}:${lineOf(error)}`, fault: error.message });
      return undefined;
    },
  });
  // The iteration below sees the error of any part; the callback has nothing to add.
  pipeline(Readable.from(decoded(text.read(0), file)), rows, () => {});
  for await (const { record, info } of rows as AsyncIterable<Row>) {
    yield* faults.splice(0);
    yield { position: `${file}:${info.lines}`, ...pick(record) };
  }
  yield* faults.splice(0);
}

async function* decoded(chunks: AsyncIterable<Buffer>, file: string): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  try {
    for await (const chunk of chunks) yield decoder.decode(chunk, { stream: true });
    yield decoder.decode();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new SourceError(file, 'expected UTF-8, got other bytes; convert it', error);
  }
}

/** @throws SourceError when columns repeat or one that the task needs is not there */
function checkedHeader(source: CsvSource, header: string[], inputFields: readonly string[]): string[] {
  const needed = inputFields.map((field) => nameInSource(source, field));
  if (source.reference !== undefined) needed.push(source.reference.field);
  const missing = needed.filter((name) => !header.includes(name));
  const got = header.join(', ').slice(0, 300);
  if (missing.length > 0) {
    const advice = `add ${missing.join(', ')}, or name other columns under fields`;
    throw new SourceError(
      `${placeName(source.path)}:1`,
      `expected the columns ${needed.join(', ')}, got ${got}; ${advice}`,
    );
  }
  if (new Set(header).size !== header.length) {
    throw new SourceError(
      `${placeName(source.path)}:1`,
      `expected distinct columns, got ${got}; rename the repeated ones`,
    );
  }
  return header;
}

function brokenFrom(file: string, error: CsvError | undefined): SourceError {
  return new SourceError(
    `${file}:${lineOf(error)}`,
    `${error?.message ?? 'unreadable row'}; correct the quotes`,
    error,
  );
}

function lineOf(error: CsvError | undefined): string {
  return String(error?.lines ?? '?');
}
