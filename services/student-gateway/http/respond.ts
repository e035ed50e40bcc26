import type { ServerResponse } from 'node:http';
import type { FailureKind, RequestError } from '../errors.ts';

/** How each failure looks over HTTP; `type` and `code` are those of OpenAI's errors. */
const presentations: Record<FailureKind, { status: number; type: string; code: string | null }> = {
  'bad-request': { status: 400, type: 'invalid_request_error', code: null },
  unauthorized: { status: 401, type: 'invalid_request_error', code: 'invalid_api_key' },
  forbidden: { status: 403, type: 'invalid_request_error', code: 'task_not_allowed' },
  'not-found': { status: 404, type: 'invalid_request_error', code: 'model_not_found' },
  'unknown-route': { status: 404, type: 'invalid_request_error', code: 'unknown_url' },
  'method-not-allowed': { status: 405, type: 'invalid_request_error', code: 'method_not_allowed' },
  'too-large': { status: 413, type: 'invalid_request_error', code: 'request_too_large' },
  'unsupported-media-type': { status: 415, type: 'invalid_request_error', code: 'unsupported_media_type' },
  overloaded: { status: 503, type: 'server_error', code: 'overloaded' },
  'teacher-unavailable': { status: 503, type: 'server_error', code: 'teacher_unavailable' },
  'teacher-failed': { status: 502, type: 'server_error', code: 'teacher_failed' },
  'upstream-unavailable': { status: 502, type: 'server_error', code: 'upstream_unavailable' },
  internal: { status: 500, type: 'server_error', code: 'internal_error' },
};

/** Status and body of a failure, in OpenAI's format. */
export type ErrorFormat = (error: RequestError) => object;

export const openAiError: ErrorFormat = (error) => {
  const { type, code } = presentations[error.kind];
  return { error: { message: error.message, type, param: error.param ?? null, code } };
};

/** The Open Inference Protocol's. */
export const inferenceError: ErrorFormat = (error) => ({ error: error.message });

/** Sends a body of JSON. `headers` are names and values in turn. */
export const sendJson = (
  response: ServerResponse,
  status: number,
  value: object,
  headers: readonly string[] = [],
): void => send(response, status, 'application/json', JSON.stringify(value), headers);

export const send = (
  response: ServerResponse,
  status: number,
  contentType: string,
  body: string,
  headers: readonly string[] = [],
): void => {
  const length = String(Buffer.byteLength(body));
  response.writeHead(status, ['content-type', contentType, 'content-length', length, ...headers]);
  response.end(body);
};

/** Sends a failure. What was not read of the request's body ends its connection. */
export const sendError = (response: ServerResponse, error: RequestError, format: ErrorFormat): void => {
  const headers = response.req.complete ? [] : ['connection', 'close'];
  if (error.retryAfterMs !== undefined) headers.push('retry-after', String(Math.ceil(error.retryAfterMs / 1_000)));
  if (error.kind === 'unauthorized') headers.push('www-authenticate', 'Bearer');
  sendJson(response, presentations[error.kind].status, format(error), headers);
};
