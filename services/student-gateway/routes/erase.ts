import type { EraseRequest } from '@understudy/contract/erasure';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { decodePayload } from '@understudy/service/bus/event';
import { type IdKey, promptIdsOf } from '@understudy/task';
import { holdsInput } from '@understudy/task/forgotten-events';
import { InputMatcher, versionsOf } from '@understudy/task/versions';
import type { Spill } from '../traffic/spill.ts';

/** Erases inputs from what waits on this gateway's disk for the bus. */
export const erase = async (
  { blobs, idKey, spill }: { blobs: BlobStore; idKey: IdKey; spill: Spill },
  { task, promptIds: bytes, source }: EraseRequest,
) => {
  const promptIds = new Set(promptIdsOf(bytes));
  const matcher = new InputMatcher(await versionsOf(blobs, task, idKey), promptIds);
  const events = await spill.erase(({ type, data }) => holdsInput(matcher, type, decodePayload(type, data), source));
  return { erased: { 'events on disk': BigInt(events) } };
};
