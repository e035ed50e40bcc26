import { RequestError } from '../errors.ts';
import { type PassedBody, unreadBody } from '../proxy/passed-body.ts';
import type { Tap } from '../proxy/upstream.ts';
import type { Call, Handler, HttpContext } from './context.ts';

/** Sends a call to the upstream as it is. @throws RequestError (forbidden, not-found, upstream-unavailable, …) */
export const passOn = async ({ upstream }: HttpContext, call: Call, body: PassedBody, tap?: Tap): Promise<void> => {
  if (!upstream) throw new RequestError('unknown-route', 'nothing is at this path, and there is no upstream');
  const { mayPassThrough, keyInAuthorization } = call.caller;
  if (!mayPassThrough) {
    throw new RequestError('forbidden', 'this API key is for certain tasks only: GET /v1/models lists them');
  }
  await upstream.pass(call, { body, keepAuthorization: !keyInAuthorization, tap });
};

/** Any path below `/v1` that is nothing of this gateway's. */
export const passThrough: Handler = (context, call) => passOn(context, call, unreadBody(call.request));
