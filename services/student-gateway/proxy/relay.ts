import type { IncomingMessage, ServerResponse } from 'node:http';
import { headersForClient } from './headers.ts';
import type { Tap } from './upstream.ts';

/** How a reply went: the class of its status, or how it broke off. */
export type RelayOutcome = '2xx' | '3xx' | '4xx' | '5xx' | 'broken-off' | 'client-gone';

/**
 * Sends the upstream's reply to the client: every byte as it comes, at the client's pace. A reply that breaks off
 * breaks off for the client too, so that it cannot be taken for a whole one.
 */
export const relay = (reply: IncomingMessage, response: ServerResponse, tap: Tap | undefined): Promise<RelayOutcome> =>
  new Promise((resolve) => {
    const status = reply.statusCode!;
    let begun = false;
    response.writeHead(status, reply.statusMessage, headersForClient(reply.rawHeaders, reply.headers.connection));
    // With the first bytes where they are there already, at once where they are not: the first event of a stream may take a while.
    setImmediate(() => {
      if (!begun && !response.destroyed) response.flushHeaders();
    });
    reply.on('data', (chunk: Buffer) => {
      begun = true;
      tap?.chunk(chunk);
      if (response.write(chunk)) return;
      reply.pause();
      response.once('drain', () => reply.resume());
    });
    let isOver = false;
    const over = (outcome: RelayOutcome, complete: boolean) => {
      if (isOver) return;
      isOver = true;
      tap?.end(complete);
      resolve(outcome);
    };
    reply.on('end', () => {
      begun = true;
      response.end();
      over(`${Math.floor(status / 100)}xx` as RelayOutcome, true);
    });
    reply.on('error', () => {}); // its close says the same
    reply.on('close', () => {
      if (isOver) return;
      over(response.destroyed ? 'client-gone' : 'broken-off', false);
      response.destroy();
    });
  });
