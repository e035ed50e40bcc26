import type { ClientRequest, IncomingMessage } from 'node:http';
import { RequestError } from '../errors.ts';
import { maxPassedBodyBytes } from '../limits.ts';

/** A request's body on its way to the upstream. */
export interface PassedBody {
  /** What was read of it before it was known where it goes. */
  read: readonly Buffer[];
  /** True where that is all of it. */
  complete: boolean;
  /** Headers that say how long it is: names and values in turn. */
  framing: readonly string[];
}

export const tooLargeToPass = () =>
  new RequestError('too-large', `expected a body of at most ${maxPassedBodyBytes} bytes, more came`);

/** A body of which `read` is all, or only the beginning. */
export const passedBody = (request: IncomingMessage, read: readonly Buffer[], complete: boolean): PassedBody => {
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
  if (complete && encoding !== undefined) {
    const bytes = read.reduce((sum, chunk) => sum + chunk.length, 0);
    return { read, complete, framing: ['Content-Length', String(bytes)] };
  }
  if (length !== undefined) return { read, complete, framing: ['Content-Length', length] };
  if (encoding !== undefined) return { read, complete, framing: ['Transfer-Encoding', 'chunked'] };
  return { read, complete: true, framing: request.method === 'POST' ? ['Content-Length', '0'] : [] };
};

/** A body of which nothing was read. */
export const unreadBody = (request: IncomingMessage): PassedBody => passedBody(request, [], false);

/**
 * Sends a body on: what was read, then the rest at the upstream's pace.
 * @throws RequestError (too-large)
 */
export const sendBody = (body: PassedBody, request: IncomingMessage, sent: ClientRequest): Promise<void> => {
  if (body.complete) {
    sent.end(body.read.length === 1 ? body.read[0] : Buffer.concat(body.read));
    return Promise.resolve();
  }
  return new Promise((resolve, reject) => {
    let bytes = 0;
    let full = false;
    sent.on('drain', () => {
      full = false;
      request.resume();
    });
    const send = (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > maxPassedBodyBytes) {
        request.pause();
        reject(tooLargeToPass());
        sent.destroy();
      } else if (!sent.write(chunk)) {
        full = true;
        request.pause();
      }
    };
    sent.on('close', resolve); // whoever waits for the reply knows why
    for (const chunk of body.read) send(chunk);
    request.on('data', send);
    request.on('end', () => {
      sent.end();
      resolve();
    });
    if (!full) request.resume();
  });
};
