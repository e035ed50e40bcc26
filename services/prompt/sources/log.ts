import type { S3Settings } from '@understudy/service/blobs/s3-object';
import { type CompiledTask, readLogged, type Source } from '@understudy/task';
import { objectOn } from './jsonl.ts';
import { MAX_LOG_LINE_BYTES } from './limits.ts';
import { placeName } from './place.ts';
import type { RecordStream } from './source.ts';
import { linesOf, openText } from './text-file.ts';

/** Finished pairs, one call with its response a line. */
export async function* readLog(
  source: Extract<Source, { kind: 'log' }>,
  compiled: CompiledTask,
  s3: S3Settings = {},
): RecordStream {
  await using text = await openText(source.path, 'one call with its response a line', s3);
  const name = placeName(source.path);
  for await (const line of linesOf(text, MAX_LOG_LINE_BYTES)) {
    const position = `${name}:${line.number}`;
    const parsed = objectOn(line);
    if (parsed === undefined) continue;
    if ('fault' in parsed) {
      yield { position, fault: parsed.fault, reason: 'not-json' };
      continue;
    }
    const logged = readLogged(compiled, parsed.value);
    if (logged.ok) yield { position, input: JSON.parse(logged.pair.inputJson), pair: logged.pair };
    else yield { position, fault: logged.message, reason: logged.fault };
  }
}
