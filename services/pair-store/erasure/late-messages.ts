import { JetStreamApiError } from '@nats-io/jetstream';
import type { Event } from '@understudy/service/bus/settle';
import { RetryableError } from '@understudy/service/errors';
import type { PairStoreContext } from '../context.ts';

/** Takes messages with forgotten inputs off their stream: they were under way while the input was forgotten, or somebody sent it anew. */
export async function removeLate({ bus, journal }: PairStoreContext, events: readonly Event[]): Promise<void> {
  for (const { place, type } of events) {
    if (place === undefined) continue;
    // Deletes the bytes, too. What is gone already is gone.
    const gone = await bus.jsm.streams.deleteMessage(place.stream, place.sequence).catch((error) => {
      if (error instanceof JetStreamApiError) return false;
      throw new RetryableError('a message with a forgotten input cannot be removed', { cause: error });
    });
    if (gone) journal.removedLate(type);
  }
}
