import { removeMessage } from '@understudy/service/bus/remove-message';
import type { Event } from '@understudy/service/bus/settle';
import type { PairStoreContext } from '../context.ts';

/** Takes messages with forgotten inputs off their stream: they were under way while the input was forgotten, or somebody sent it anew. */
export async function removeLate({ bus, journal }: PairStoreContext, events: readonly Event[]): Promise<void> {
  for (const { place, type } of events) {
    if (place === undefined) continue;
    if (await removeMessage(bus, place.stream, place.sequence)) journal.removedLate(type);
  }
}
