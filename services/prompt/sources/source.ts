/** What every kind of source yields: records with their places, bad ones too, so that nothing vanishes unseen. */
import type { LoggedPair } from '@understudy/task';

export interface GoodRecord {
  /** `file:line`, or the file where it is one record. */
  position: string;
  /** By the task's field names; values are whatever the source held. */
  input: Record<string, unknown>;
  /** The source's own truth, still unchecked, where the task says where it is. */
  reference?: unknown;
  /** The answer that it was given before, where the source is a log. */
  pair?: LoggedPair;
}

export interface BadRecord {
  position: string;
  /** What was expected and what came. */
  fault: string;
  /** In one word, where the source has such: bad records are counted by it. */
  reason?: string;
}

export type SourceRecord = GoodRecord | BadRecord;
export type RecordStream = AsyncIterable<SourceRecord>;

/** A source that cannot be used at all: missing, empty, binary, without the expected columns. */
export class SourceError extends Error {
  override readonly name = 'SourceError';

  constructor(file: string, message: string, cause?: unknown) {
    super(`source ${file}: ${message}`, cause === undefined ? undefined : { cause });
  }
}
