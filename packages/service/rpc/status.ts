import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { RetryableError, TerminalError } from '../errors.ts';

/** An error with the gRPC status that callers are to see. */
export class RpcError extends Error {
  override name = 'RpcError';
  readonly code: status;
  constructor(code: status, message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.code = code;
  }
}

export const notFound = (message: string) => new RpcError(status.NOT_FOUND, message);
export const invalidArgument = (message: string, cause?: unknown) =>
  new RpcError(status.INVALID_ARGUMENT, message, { cause });
export const failedPrecondition = (message: string) => new RpcError(status.FAILED_PRECONDITION, message);

const retryAfterKey = 'retry-after-ms';

/** Status that a thrown error has on the wire. */
export const codeOf = (error: unknown): status => {
  if (error instanceof RpcError) return error.code;
  if (error instanceof RetryableError) return status.UNAVAILABLE;
  if (error instanceof TerminalError) return status.FAILED_PRECONDITION;
  if (error instanceof Error && error.name === 'AbortError') return status.CANCELLED;
  return status.INTERNAL;
};

export const retryAfterMetadata = (afterMs: number): Metadata => {
  const metadata = new Metadata();
  metadata.set(retryAfterKey, String(afterMs));
  return metadata;
};

/** The caller's view of a failed call: our errors again, so that a handler can decide. */
export const errorFromCall = (error: ServiceError, what: string): RpcError | RetryableError => {
  const message = `${what}: ${error.details || error.message}`;
  const passing = [status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.RESOURCE_EXHAUSTED, status.ABORTED];
  if (passing.includes(error.code)) {
    const after = Number(error.metadata?.get(retryAfterKey)[0]);
    return new RetryableError(message, { cause: error, ...(after > 0 ? { afterMs: after } : {}) });
  }
  return new RpcError(error.code, message, { cause: error });
};
