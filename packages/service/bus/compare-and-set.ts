import { setTimeout as delay } from 'node:timers/promises';
import { JetStreamApiError } from '@nats-io/jetstream';
import type { KV } from '@nats-io/kv';
import { messageOf, RetryableError } from '../errors.ts';

/** What to make of a value: `write` takes its place, or nothing changes; `result` is handed on either way. */
export interface Decision<R> {
  write?: string;
  result: R;
}

/** Each loses only to a change that won; so many in a row mean that something else is wrong. */
const maxAttempts = 50;
/** A replica of the bucket that is behind shows the old value again; it catches up within this, times the attempt. */
const pauseMs = 5;
/** The server's code for "somebody else wrote this key". */
const wrongLastSequence = 10_071;

/** What a key of a bucket holds, as text; undefined for nothing. */
export const readKey = async (bucket: KV, key: string): Promise<string | undefined> =>
  (await entryOf(bucket, key))?.text;

/**
 * Changes one key of a bucket: `decide` sees the value and says what takes its place; when another writer came
 * between, it is asked again with the newer value. A write whose answer got lost may have happened: `decide` must
 * know its own work when it sees it. What it throws is thrown on.
 * @throws RetryableError when the bucket cannot be reached, or others keep changing the key
 */
export const compareAndSet = async <R>(
  bucket: KV,
  key: string,
  decide: (current: string | undefined) => Decision<R>,
): Promise<R> => {
  for (let attempt = 1; attempt <= maxAttempts; attempt += 1) {
    const entry = await entryOf(bucket, key);
    const { write, result } = decide(entry?.text);
    if (write === undefined) return result;
    try {
      if (entry) await bucket.update(key, write, entry.revision);
      else await bucket.create(key, write);
      return result;
    } catch (error) {
      if (!(error instanceof JetStreamApiError && error.code === wrongLastSequence)) throw unreachable(key, error);
      await delay(pauseMs * attempt);
    }
  }
  throw new RetryableError(`the key ${key} was changed by others ${maxAttempts} times in a row`);
};

const entryOf = async (bucket: KV, key: string): Promise<{ text: string; revision: number } | undefined> => {
  try {
    const entry = await bucket.get(key);
    return entry?.operation === 'PUT' ? { text: entry.string(), revision: entry.revision } : undefined;
  } catch (error) {
    throw unreachable(key, error);
  }
};

const unreachable = (key: string, cause: unknown) =>
  new RetryableError(`the key ${key} cannot be read or written: ${messageOf(cause)}`, { cause });
