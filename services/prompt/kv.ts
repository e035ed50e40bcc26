import { JetStreamApiError } from '@nats-io/jetstream';
import { messageOf, RetryableError } from '@understudy/service/errors';

/**
 * A listing or watch of a bucket. A server that does not answer, or is not ready yet, is a passing fault; what it refuses is not.
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
