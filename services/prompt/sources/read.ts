import type { Source, Task } from '@understudy/task';
import { readCsv } from './csv.ts';
import { emailFormat } from './email.ts';
import { readFolder, textFormat } from './folder.ts';
import { readJsonl } from './jsonl.ts';
import { readLines } from './lines.ts';
import { type RecordStream, SourceError } from './source.ts';

/**
 * All records of a task's sources, in the order of the task file; bad ones are yielded, not thrown.
 * @throws SourceError when a source cannot be used at all, or holds no record
 */
export async function* readSources(task: Task): RecordStream {
  for (const source of task.sources) {
    let records = 0;
    for await (const record of open(source, task)) {
      yield record;
      records += 1;
      if (records === source.limit) break;
    }
    if (records === 0) throw new SourceError(source.path, 'expected at least one record, got none; add some');
  }
}

/**
 * Looks at the beginning of every source, so that a wrong path or a binary file is refused before a run starts.
 * @throws SourceError
 */
export async function probeSources(task: Task): Promise<void> {
  for (const source of task.sources) {
    for await (const _ of readSources({ ...task, sources: [source] })) break;
  }
}

function open(source: Source, task: Task): RecordStream {
  const { fields } = task.input;
  // The task's validation has made sure that kinds with whole texts come with exactly one field.
  const field = fields[0] ?? '';
  switch (source.kind) {
    case 'jsonl':
      return readJsonl(source, fields);
    case 'csv':
      return readCsv(source, fields);
    case 'lines':
      return readLines(source, field);
    case 'folder':
      return readFolder(source, source.format === 'text' ? textFormat(field) : emailFormat(fields));
  }
}
