import type { Source } from '@understudy/task';
import { drawInputs } from '@understudy/task/grammar';
import type { RecordStream } from './source.ts';

/** Inputs drawn from the task's grammar, none of them twice. */
export async function* readGrammar(source: Extract<Source, { kind: 'grammar' }>): RecordStream {
  let number = 0;
  for (const input of drawInputs(source, source.limit)) {
    number += 1;
    yield { position: `grammar:${number}`, input };
  }
}
