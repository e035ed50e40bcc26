import type { IncomingMessage, ServerResponse } from 'node:http';
import { RequestError } from '../errors.ts';
import { chatCompletions } from './chat-completions.ts';
import type { Handler, HttpContext } from './context.ts';
import { infer, live, modelMetadata, modelReady, ready, serverMetadata } from './inference.ts';
import { getModel, listModels } from './models.ts';
import { passThrough } from './pass-through.ts';
import { type ErrorFormat, inferenceError, openAiError } from './respond.ts';

interface Route {
  method: 'GET' | 'POST';
  /** Its one group, if any, is the name of a task. */
  path: RegExp;
  handler: Handler;
  /** Needs no API key: for whoever watches over this process. */
  open?: true;
}

const routes: readonly Route[] = [
  { method: 'POST', path: /^\/v1\/chat\/completions$/, handler: chatCompletions },
  { method: 'GET', path: /^\/v1\/models$/, handler: listModels },
  { method: 'GET', path: /^\/v1\/models\/([^/]+)$/, handler: getModel },
  { method: 'POST', path: /^\/v2\/models\/([^/]+)\/infer$/, handler: infer },
  { method: 'GET', path: /^\/v2\/models\/([^/]+)$/, handler: modelMetadata },
  { method: 'GET', path: /^\/v2\/models\/([^/]+)\/ready$/, handler: modelReady },
  { method: 'GET', path: /^\/v2\/health\/live$/, handler: live, open: true },
  { method: 'GET', path: /^\/v2\/health\/ready$/, handler: ready, open: true },
  { method: 'GET', path: /^\/v2\/?$/, handler: serverMetadata },
];

/** The path of a request, without its query. */
const pathOf = ({ url = '/' }: IncomingMessage): string => {
  const query = url.indexOf('?');
  return query < 0 ? url : url.slice(0, query);
};

/** Each protocol has errors of its own. */
export const errorFormatOf = (request: IncomingMessage): ErrorFormat =>
  pathOf(request).startsWith('/v2') ? inferenceError : openAiError;

/** Answers one request. @throws RequestError for everything that is not an answer */
export const answerOnRoute = (
  context: HttpContext,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> | void => {
  const path = pathOf(request);
  for (const { method, path: pattern, handler, open } of routes) {
    const match = pattern.exec(path);
    if (!match) continue;
    if (request.method !== method && !(method === 'GET' && request.method === 'HEAD')) {
      if (context.upstream && path.startsWith('/v1/')) break;
      throw new RequestError('method-not-allowed', `${path} takes ${method}, came ${request.method}`);
    }
    const caller = open ? nobody : context.keys.callerOf(request.headers);
    return handler(context, { caller, request, response, name: decoded(match[1] ?? '') });
  }
  if (context.upstream && path.startsWith('/v1/')) {
    const caller = context.keys.callerOf(request.headers);
    return passThrough(context, { caller, request, response, name: '' });
  }
  throw new RequestError(
    'unknown-route',
    `nothing is at this path: expected /v1/chat/completions, /v1/models or /v2/models/TASK/infer`,
  );
};

const nobody = { mayAsk: () => false, mayPassThrough: false, keyInAuthorization: false };

const decoded = (name: string): string => {
  try {
    return decodeURIComponent(name);
  } catch {
    return name; // not a name of any task, and said to be unknown as it came
  }
};
