import type { MessageInitShape } from '@bufbuild/protobuf';
import type { WritingReportSchema } from '@understudy/contract/prompt';
import type { S3Settings } from '@understudy/service/blobs/s3-object';
import { type CompiledTask, originOf, type Source } from '@understudy/task';
import { distinctInputs } from '@understudy/task/grammar';
import { isNoSample } from '@understudy/task/source-faults';
import { readCsv } from './csv.ts';
import { emailFormat } from './email.ts';
import { readFolder, textFormat } from './folder.ts';
import { readGrammar } from './grammar.ts';
import { readJsonl } from './jsonl.ts';
import { readLines } from './lines.ts';
import { readLog } from './log.ts';
import { readParquet } from './parquet.ts';
import { placeName } from './place.ts';
import { type RecordStream, SourceError, type SourceRecord } from './source.ts';

export type WritingReport = MessageInitShape<typeof WritingReportSchema>;

/** Has inputs written; `report` says what came of it so far. */
export interface Writing {
  records: RecordStream;
  report: () => WritingReport;
}

/** What sources are read with. */
export interface Surroundings {
  s3: S3Settings;
  write: (source: Extract<Source, { kind: 'written' }>) => Writing;
}

/** One source of a task, being read. */
export interface OpenSource {
  /** Kind and place, for people. */
  name: string;
  /** What its inputs are said to come from. */
  origin: string;
  /** Its inputs are no random sample of the population. */
  trainsOnly: boolean;
  relevantOnly: boolean;
  /** Bad records are its nature: a log holds calls of all kinds. */
  tolerant: boolean;
  /** Distinct inputs that it could give; 0 where nobody knows. */
  possible: bigint;
  records: RecordStream;
  writing?: () => WritingReport;
}

/** A task's sources in the order of its file, each to be read before the next; bad records are yielded, not thrown. */
export async function* openSources(compiled: CompiledTask, around: Surroundings): AsyncGenerator<OpenSource> {
  for (const source of compiled.task.sources) yield openSource(compiled, source, around);
}

function openSource(compiled: CompiledTask, source: Source, around: Surroundings): OpenSource {
  const about = {
    name: sourceName(source),
    origin: originOf(source),
    trainsOnly: isNoSample(source),
    relevantOnly: 'relevantOnly' in source && source.relevantOnly === true,
    tolerant: source.kind === 'log',
    possible: source.kind === 'grammar' ? bounded(distinctInputs(source).inputs) : 0n,
  };
  if (source.kind === 'written') {
    const { records, report } = around.write(source);
    return { ...about, records, writing: report };
  }
  return { ...about, records: notEmpty(about.name, source.limit, recordsOf(compiled, source, around.s3)) };
}

/** All records of a task's sources that are there already, in the order of its file. */
export async function* readSources(compiled: CompiledTask, s3: S3Settings): RecordStream {
  for (const source of compiled.task.sources) {
    if (source.kind === 'written') continue;
    yield* notEmpty(sourceName(source), source.limit, recordsOf(compiled, source, s3));
  }
}

/**
 * Looks at the beginning of every source, so that a wrong path or a binary file is refused before a run starts.
 * @throws SourceError
 */
export async function probeSources(compiled: CompiledTask, s3: S3Settings): Promise<void> {
  for (const source of compiled.task.sources) {
    if (source.kind === 'written') continue;
    for await (const _ of notEmpty(sourceName(source), 1, recordsOf(compiled, source, s3))) break;
  }
}

function sourceName(source: Source): string {
  return 'path' in source ? `${source.kind} ${placeName(source.path)}` : source.kind;
}

/** @throws SourceError when there is not one record */
async function* notEmpty(name: string, limit: number | undefined, records: RecordStream): AsyncGenerator<SourceRecord> {
  let seen = 0;
  for await (const record of records) {
    yield record;
    seen += 1;
    if (seen === limit) break;
  }
  if (seen === 0) throw new SourceError(name, 'expected at least one record, got none; add some');
}

function recordsOf(compiled: CompiledTask, source: Exclude<Source, { kind: 'written' }>, s3: S3Settings): RecordStream {
  const { fields } = compiled.task.input;
  // The task's validation has made sure that kinds with whole texts come with exactly one field.
  const field = fields[0] ?? '';
  switch (source.kind) {
    case 'jsonl':
      return readJsonl(source, fields, s3);
    case 'csv':
      return readCsv(source, fields, s3);
    case 'parquet':
      return readParquet(source, fields, s3);
    case 'lines':
      return readLines(source, field, s3);
    case 'folder':
      return readFolder(source, source.format === 'text' ? textFormat(field) : emailFormat(fields));
    case 'log':
      return readLog(source, compiled, s3);
    case 'grammar':
      return readGrammar(source);
  }
}

/** What a field of 64 bits holds. */
const bounded = (count: bigint): bigint => (count > 2n ** 64n - 1n ? 2n ** 64n - 1n : count);
