import type { IncomingMessage } from 'node:http';
import type { ServedTask } from '../deployments/serving.ts';
import { RequestError } from '../errors.ts';
import type { Caller } from './api-keys.ts';
import type { HttpContext } from './context.ts';

/** Names are short; a longer one is quoted no further. */
const maxQuotedCharacters = 64;

/** The task behind a model's name. @throws RequestError (forbidden, not-found) */
export const servedTask = ({ serving }: HttpContext, caller: Caller, name: string): ServedTask => {
  const quoted = JSON.stringify(name.slice(0, maxQuotedCharacters));
  if (!caller.mayAsk(name))
    throw new RequestError('forbidden', `this API key is not for the model ${quoted}`, { param: 'model' });
  const served = serving.get(name);
  if (served) return served;
  throw new RequestError('not-found', `the model ${quoted} does not exist here: GET /v1/models lists those that do`, {
    param: 'model',
  });
};

/** W3C trace context of the caller. */
export const traceparentIn = (request: IncomingMessage): string | undefined => {
  const { traceparent } = request.headers;
  return typeof traceparent === 'string' && /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/.test(traceparent)
    ? traceparent
    : undefined;
};
