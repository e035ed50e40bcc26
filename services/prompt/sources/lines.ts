import type { Source } from '@understudy/task';
import type { RecordStream } from './source.ts';
import { linesOf, openTextFile } from './text-file.ts';

/** One input a line, for tasks with one field; blank lines are no records. */
export async function* readLines(source: Extract<Source, { kind: 'lines' }>, field: string): RecordStream {
  const handle = await openTextFile(source.path, 'one input a line');
  for await (const { number, text, fault } of linesOf(handle)) {
    const position = `${source.path}:${number}`;
    if (text === undefined) yield { position, fault: fault ?? 'unreadable line' };
    else if (text.trim() !== '') yield { position, input: { [field]: text } };
  }
}
