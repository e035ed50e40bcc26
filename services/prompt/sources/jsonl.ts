import type { S3Settings } from '@understudy/service/blobs/s3-object';
import type { Source } from '@understudy/task';
import { fieldPicker } from './fields.ts';
import { placeName } from './place.ts';
import type { RecordStream } from './source.ts';
import { linesOf, openText, type TextLine } from './text-file.ts';

/** One JSON object a line; blank lines are no records. */
export async function* readJsonl(
  source: Extract<Source, { kind: 'jsonl' }>,
  inputFields: readonly string[],
  s3: S3Settings = {},
): RecordStream {
  await using text = await openText(source.path, 'one JSON object a line', s3);
  const file = placeName(source.path);
  const pick = fieldPicker(source, inputFields);
  for await (const line of linesOf(text)) {
    const position = `${file}:${line.number}`;
    const parsed = objectOn(line);
    if (parsed === undefined) continue;
    yield 'fault' in parsed ? { position, fault: parsed.fault } : { position, ...pick(parsed.value) };
  }
}

/** The object on a line, or what is wrong with it; undefined for a blank line. */
export function objectOn({
  text,
  fault,
}: TextLine): { value: Record<string, unknown> } | { fault: string } | undefined {
  if (text === undefined) return { fault: fault ?? 'unreadable line' };
  if (text.trim() === '') return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { fault: `expected a JSON object, got ${excerpt(text)} (${String(error)})` };
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    return { fault: `expected a JSON object, got ${excerpt(text)}` };
  }
  return { value: value as Record<string, unknown> };
}

function excerpt(text: string): string {
  return text.length <= 80 ? text : `${text.slice(0, 80)}…`;
}
