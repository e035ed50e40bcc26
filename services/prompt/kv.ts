import { JetStreamApiError } from '@nats-io/jetstream';
import { messageOf, RetryableError } from '@understudy/service/errors';

/** The server's code for "somebody else wrote this key". */
const WRONG_LAST_SEQUENCE = 10_071;

/** True when a compare-and-set lost. */
export const isConflict = (error: unknown): boolean =>
  error instanceof JetStreamApiError && error.code === WRONG_LAST_SEQUENCE;

/**
 * A request to a bucket. A server that does not answer, or is not ready yet, is a passing fault; what it refuses is not.
 * @throws RetryableError, or the server's own error
 */
export async function reach<T>(request: Promise<T>): Promise<T> {
  try {
    return await request;
  } catch (error) {
    if (error instanceof JetStreamApiError && error.status < 500) throw error;
    throw new RetryableError(`the bus does not answer: ${messageOf(error)}`, { cause: error });
  }
}
