import { Agent as HttpAgent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { AddressRules } from '@understudy/service/outbound';
import { redactor } from './secrets.ts';

/** Idle connections are kept for as long as servers usually keep theirs. */
const keepAliveMs = 4_000;

/** An answer is some kilobytes, the results of a batch some megabytes; a server that sends more is not one of ours. */
const MAX_REPLY_BYTES = 256 * 1024 * 1024;

/** What a connector asks with. */
export interface FetchOptions {
  maxConnections: number;
  addresses: AddressRules;
  /** The key that requests carry: wherever a reply repeats it, a mark stands in its place. */
  secret?: string | undefined;
}

/** A `fetch` that a client library can be given, on connections of its own. */
export interface PooledFetch {
  fetch: typeof fetch;
  /** Cuts all connections; what is under way fails. */
  close(): void;
}

/**
 * `fetch` for requests with a text body and a reply that is read whole, on node's own HTTP client: half the CPU of the
 * built-in `fetch`, its pool bounded, the address of every connection checked, redirects left to the caller (who follows
 * none), and what a reply repeats of the request's secret taken out before anybody reads it.
 */
export const pooledFetch = ({ maxConnections, addresses, secret }: FetchOptions): PooledFetch => {
  const options = { keepAlive: true, maxSockets: maxConnections, maxFreeSockets: maxConnections, timeout: keepAliveMs };
  const agents = { http: new HttpAgent(options), https: new HttpsAgent(options) };
  const redact = redactor(secret);
  const send = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(input instanceof Request ? input.url : input);
    addresses.checkHost(url.hostname);
    const secure = url.protocol === 'https:';
    const { type, bytes } = await encoded(init.body);
    const headers = new Headers(init.headers);
    if (type && !headers.has('content-type')) headers.set('content-type', type);
    const { message, body } = await exchange(secure ? httpsRequest : httpRequest, url, bytes, {
      method: init.method ?? 'GET',
      agent: secure ? agents.https : agents.http,
      headers: Object.fromEntries(headers),
      lookup: addresses.lookup,
      ...(init.signal ? { signal: init.signal } : {}),
    });
    return new Response(message.statusCode === 204 ? null : redact.bytes(body), {
      status: message.statusCode ?? 500,
      headers: headersOf(message).map(([name, value]) => [name, redact.text(value)] as [string, string]),
    });
  };
  return {
    fetch: send as typeof fetch,
    close: () => {
      agents.http.destroy();
      agents.https.destroy();
    },
  };
};

/** Texts are what nearly all requests are; a form is a file that is uploaded. */
const encoded = async (body: RequestInit['body']): Promise<{ type: string | null; bytes: Buffer }> => {
  if (body === undefined || body === null) return { type: null, bytes: Buffer.alloc(0) };
  if (typeof body === 'string') return { type: null, bytes: Buffer.from(body) };
  const form = new Response(body);
  return { type: form.headers.get('content-type'), bytes: Buffer.from(await form.arrayBuffer()) };
};

const exchange = (
  request: typeof httpRequest,
  url: URL,
  body: Buffer,
  options: RequestOptions,
): Promise<{ message: IncomingMessage; body: Buffer<ArrayBuffer> }> =>
  new Promise((resolve, reject) => {
    const sent = request(url, options, (message) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      message.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        bytes += chunk.length;
        if (bytes > MAX_REPLY_BYTES) message.destroy(new Error(`the reply has more than ${MAX_REPLY_BYTES} bytes`));
      });
      message.on('error', reject);
      message.on('close', () => {
        if (message.complete) resolve({ message, body: Buffer.concat(chunks) });
        else reject(new Error('the connection was closed in the middle of the reply'));
      });
    });
    sent.on('error', reject);
    sent.setHeader('content-length', body.length);
    sent.end(body);
  });

const headersOf = ({ rawHeaders }: IncomingMessage): [string, string][] => {
  const headers: [string, string][] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2)
    headers.push([rawHeaders[index]!, rawHeaders[index + 1]!]);
  return headers;
};
