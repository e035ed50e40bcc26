import type { S3Settings } from '@understudy/service/blobs/s3-object';
import type { Source } from '@understudy/task';
import { placeName } from './place.ts';
import type { RecordStream } from './source.ts';
import { linesOf, openText } from './text-file.ts';

/** One input a line, for tasks with one field; blank lines are no records. */
export async function* readLines(
  source: Extract<Source, { kind: 'lines' }>,
  field: string,
  s3: S3Settings = {},
): RecordStream {
  await using file = await openText(source.path, 'one input a line', s3);
  for await (const { number, text, fault } of linesOf(file)) {
    const position = `${placeName(source.path)}:${number}`;
    if (text === undefined) yield { position, fault: fault ?? 'unreadable line' };
    else if (text.trim() !== '') yield { position, input: { [field]: text } };
  }
}
