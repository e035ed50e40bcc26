import type { EraseRequest } from '@understudy/contract/erasure';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { type IdKey, promptIdsOf } from '@understudy/task';
import { InputMatcher, versionsOf } from '@understudy/task/versions';
import type { Answers } from '../answers.ts';
import { RECENT_OUTCOME_MS } from '../limits.ts';
import type { Recordings } from '../teachers/recordings.ts';

export interface Erasing {
  readonly answers: Answers;
  readonly blobs: BlobStore;
  readonly idKey: IdKey;
  /** Where replies are written down, if they are. */
  readonly recordings: Recordings | undefined;
}

/** Erases what teachers said to inputs from this replica's memory and from recorded replies. */
export const erase = async (
  { answers, blobs, idKey, recordings }: Erasing,
  { task, promptIds: bytes }: EraseRequest,
) => {
  const promptIds = new Set(promptIdsOf(bytes));
  const matcher = new InputMatcher(await versionsOf(blobs, task, idKey), promptIds);
  const replies = recordings ? await recordings.erase(matcher) : 0;
  return {
    erased: { 'answers in memory': BigInt(answers.forget(promptIds)), 'recorded replies': BigInt(replies) },
    remains: [`further replicas have answers in memory, for at most ${RECENT_OUTCOME_MS / 1_000} s`],
  };
};
