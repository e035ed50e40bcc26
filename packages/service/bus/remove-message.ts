import { JetStreamApiError } from '@nats-io/jetstream';
import { RetryableError } from '../errors.ts';
import type { BusConnection } from './connection.ts';
import { isNotFound } from './provision.ts';

/**
 * Deletes a message from its stream, and its bytes from the disk.
 * @param stream its name on the server
 * @returns false where it is gone already
 * @throws RetryableError where it still stands, or nobody can tell: whoever erases must not take that for gone
 */
export async function removeMessage({ jsm }: BusConnection, stream: string, sequence: number): Promise<boolean> {
  try {
    return await jsm.streams.deleteMessage(stream, sequence);
  } catch (cause) {
    if (cause instanceof JetStreamApiError && (await isGone(jsm, stream, sequence))) return false;
    throw new RetryableError(`message ${sequence} of ${stream} cannot be removed`, { cause });
  }
}

const isGone = (jsm: BusConnection['jsm'], stream: string, seq: number): Promise<boolean> =>
  jsm.streams.getMessage(stream, { seq }).then(
    (message) => message === null,
    (error) => isNotFound(error),
  );
