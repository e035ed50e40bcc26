import type { Pair, TeacherAnswered } from '@understudy/contract';
import { TerminalError } from '@understudy/service/errors';
import { pairId } from '@understudy/task';
import type { Answer } from './store/record.ts';

/** What a fact says that is to be recorded. Throws TerminalError for one that no teacher's gateway of ours would publish. */
export function answerOf({ pair, runId, cached }: TeacherAnswered): Answer {
  return { pair: checkedPair(pair), asked: { runId, cached } };
}

const ID = /^[0-9a-f]{64}$/;

/** Ids are keys of rows and of other services' effects: a wrong one is refused before it is stored. */
export function checkedPair(pair: Pair | undefined): Pair {
  if (!pair) throw new TerminalError('pair: expected a pair, came nothing');
  for (const field of ['promptId', 'fingerprint'] as const) requireId(field, pair[field]);
  const expected = pairId(pair.promptId, pair.fingerprint, pair.sampleNumber);
  if (pair.pairId !== expected) {
    throw new TerminalError(
      `pair.pair_id: expected ${expected}, the digest of its parts, came ${JSON.stringify(pair.pairId.slice(0, 100))}`,
    );
  }
  for (const field of ['text', 'inputJson', 'answerJson', 'referenceJson', 'origin'] as const) {
    if (pair[field]?.includes('\0'))
      throw new TerminalError(`pair.${field}: expected text without the character U+0000`);
  }
  return pair;
}

export function requireId(field: string, value: string): void {
  if (!ID.test(value)) {
    throw new TerminalError(`${field}: expected 64 hex digits, came ${JSON.stringify(value.slice(0, 100))}`);
  }
}
