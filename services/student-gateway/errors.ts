/** What a client is told when it gets no answer, whichever protocol it speaks. */

export type FailureKind =
  | 'bad-request' // the client's fault: it must change the request
  | 'unauthorized' // no key, or one that is not known
  | 'forbidden' // a key that is not for this task
  | 'not-found' // no such task
  | 'unknown-route'
  | 'method-not-allowed'
  | 'too-large'
  | 'unsupported-media-type'
  | 'overloaded' // more requests than the student can take
  | 'teacher-unavailable' // nobody can answer this now
  | 'upstream-unavailable' // whom this would be passed through to gives no reply
  | 'teacher-failed' // the teacher answered, but nothing valid
  | 'internal'; // a fault of this gateway

/** A request that ends without an answer. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  readonly kind: FailureKind;
  /** Which parameter is to blame, in the request's own terms. */
  readonly param: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(
    kind: FailureKind,
    message: string,
    details: { param?: string; retryAfterMs?: number; cause?: unknown } = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.kind = kind;
    this.param = details.param;
    this.retryAfterMs = details.retryAfterMs;
  }
}

export const badRequest = (message: string, param?: string): RequestError =>
  new RequestError('bad-request', message, param === undefined ? {} : { param });
