import { ForbiddenAddress } from '@understudy/service/outbound';
import { failureOf, mayBePaid, maybePaid } from './pricing.ts';
import { type CostBound, TeacherError } from './teacher.ts';

type ErrorClass<E> = abstract new (...args: never[]) => E;

/** The errors of the vendors' SDKs, which one generator writes. */
export interface SdkErrors {
  APIError: ErrorClass<Error & { readonly status: number | undefined; readonly headers: Headers | undefined }>;
  APIConnectionError: ErrorClass<Error>;
  APIConnectionTimeoutError: ErrorClass<Error>;
}

/** Of a message that a server sends, enough to act on. */
const MAX_MESSAGE_CHARACTERS = 300;

const neverConnectedCodes: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH']);

/** Whom a connector asks, for messages. */
export interface Asked {
  /** `model at URL` */
  name: string;
  timeoutMs: number;
}

/**
 * What an SDK threw, as a connector reports it.
 * @param bound the most that the call can have cost: one that broke off may have been paid for all the same
 */
export const teacherErrorOf = (error: unknown, sdk: SdkErrors, asked: Asked, bound: CostBound): TeacherError => {
  if (error instanceof TeacherError) return error;
  const { name, timeoutMs } = asked;
  const unsure = { cause: error, ...maybePaid(bound) };
  if (error instanceof sdk.APIConnectionTimeoutError) {
    return new TeacherError('timeout', `${name} gave no answer within ${timeoutMs} ms`, unsure);
  }
  if (error instanceof sdk.APIConnectionError) return disconnected(error.cause ?? error, name, bound);
  if (error instanceof sdk.APIError && error.status !== undefined) return refused(error, error.status, name, bound);
  return new TeacherError('malformed', `${name} sent a reply that cannot be read`, unsure);
};

const disconnected = (cause: unknown, name: string, bound: CostBound): TeacherError => {
  if (cause instanceof ForbiddenAddress) {
    const advice = 'change teacher.baseUrl, or have the operator allow it (TEACHER_ALLOWED_ADDRESSES)';
    return new TeacherError('rejected', `${cause.message}: ${advice}`, { cause });
  }
  const { code } = cause as NodeJS.ErrnoException;
  const neverConnected = code !== undefined && neverConnectedCodes.has(code);
  return new TeacherError('unreachable', `${name} cannot be reached; check teacher.baseUrl`, {
    cause,
    ...(neverConnected ? {} : maybePaid(bound)),
  });
};

const refused = (
  error: InstanceType<SdkErrors['APIError']>,
  status: number,
  name: string,
  bound: CostBound,
): TeacherError => {
  const message = `${name} answered ${status}`;
  const words = error.message.slice(0, MAX_MESSAGE_CHARACTERS);
  if (status >= 300 && status < 400) {
    const advice = 'redirects are not followed; set teacher.baseUrl to where it leads';
    return new TeacherError('rejected', `${message} (${advice})`, { cause: error, words });
  }
  const retryAfterMs = retryAfterOf(error.headers);
  return new TeacherError(failureOf(status), message, {
    cause: error,
    words,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(mayBePaid(status) ? maybePaid(bound) : {}),
  });
};

/** `retry-after-ms`, or `retry-after` in seconds or as a date (RFC 9110, 10.2.3). */
export const retryAfterOf = (headers: Headers | undefined): number | undefined => {
  const milliseconds = Number(headers?.get('retry-after-ms') || Number.NaN);
  if (milliseconds >= 0) return milliseconds;
  const value = headers?.get('retry-after');
  if (!value) return undefined;
  const seconds = Number(value);
  const waitMs = Number.isNaN(seconds) ? Date.parse(value) - Date.now() : seconds * 1_000;
  return Number.isNaN(waitMs) ? undefined : Math.max(0, waitMs);
};

/** Some gateways report a failure of the model behind them as 200 with `{"error": {...}}` in the body. */
export const errorInBody = (body: unknown, name: string, bound: CostBound): TeacherError | undefined => {
  if (typeof body !== 'object' || body === null || !('error' in body) || !body.error) return undefined;
  const error = body.error as { code?: unknown; message?: unknown };
  const status = Number(error.code);
  const failure = status >= 400 && status < 600 ? failureOf(status) : 'overloaded';
  const words = String(error.message ?? JSON.stringify(error)).slice(0, MAX_MESSAGE_CHARACTERS);
  return new TeacherError(failure, `${name} answered 200 with an error in its body`, { words, ...maybePaid(bound) });
};
