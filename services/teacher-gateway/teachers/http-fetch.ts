import { lookup } from 'node:dns';
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { BlockList, isIP, type LookupFunction } from 'node:net';

/** Where clouds keep credentials of the machine (link-local, and their few other places): no model is served there. */
const forbidden = new BlockList();
forbidden.addSubnet('169.254.0.0', 16, 'ipv4');
forbidden.addAddress('100.100.100.200', 'ipv4');
forbidden.addSubnet('fe80::', 10, 'ipv6');
forbidden.addAddress('fd00:ec2::254', 'ipv6');

/** A teacher's URL leads to an address that must not be asked. */
export class ForbiddenAddress extends Error {
  override name = 'ForbiddenAddress';
}

const refuse = (host: string, address: string) =>
  new ForbiddenAddress(`${host} is ${address}, an address of the machine's own metadata; change teacher.baseUrl`);

const isForbidden = (address: string): boolean => forbidden.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');

/** Resolves a name and refuses it if any of its addresses is forbidden: checked where it is connected to, so that no later answer differs. */
const guardedLookup: LookupFunction = (host, options, done) => {
  lookup(host, { ...options, all: true }, (error, addresses) => {
    const bad = addresses?.find(({ address }) => isForbidden(address));
    const failure = error ?? (bad ? refuse(host, bad.address) : null);
    if (failure || options.all) done(failure, addresses);
    else done(null, addresses[0]!.address, addresses[0]!.family);
  });
};

/** Idle connections are kept for as long as servers usually keep theirs. */
const keepAliveMs = 4_000;

/** A `fetch` that a client library can be given, on connections of its own. */
export interface PooledFetch {
  fetch: typeof fetch;
  /** Cuts all connections; what is under way fails. */
  close(): void;
}

/**
 * `fetch` for requests with a text body and a reply that is read whole, on node's own HTTP client: half the CPU of the
 * built-in `fetch`, its pool bounded, and the address of every connection checked.
 */
export const pooledFetch = (maxConnections: number): PooledFetch => {
  const options = { keepAlive: true, maxSockets: maxConnections, maxFreeSockets: maxConnections, timeout: keepAliveMs };
  const agents = { http: new HttpAgent(options), https: new HttpsAgent(options) };
  const send = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(input instanceof Request ? input.url : input);
    const secure = url.protocol === 'https:';
    const host = url.hostname.replace(/^\[|\]$/g, '');
    if (isIP(host) && isForbidden(host)) throw refuse(url.hostname, host);
    const { message, body } = await exchange(secure ? httpsRequest : httpRequest, url, String(init.body ?? ''), {
      method: init.method ?? 'GET',
      agent: secure ? agents.https : agents.http,
      headers: Object.fromEntries(new Headers(init.headers)),
      lookup: guardedLookup,
      ...(init.signal ? { signal: init.signal } : {}),
    });
    return new Response(message.statusCode === 204 ? null : body, {
      status: message.statusCode ?? 500,
      headers: headersOf(message),
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

const exchange = (
  request: typeof httpRequest,
  url: URL,
  body: string,
  options: RequestOptions,
): Promise<{ message: IncomingMessage; body: Buffer<ArrayBuffer> }> =>
  new Promise((resolve, reject) => {
    const sent = request(url, options, (message) => {
      const chunks: Buffer[] = [];
      message.on('data', (chunk) => chunks.push(chunk));
      message.on('error', reject);
      message.on('close', () => {
        if (message.complete) resolve({ message, body: Buffer.concat(chunks) });
        else reject(new Error('the connection was closed in the middle of the reply'));
      });
    });
    sent.on('error', reject);
    sent.setHeader('content-length', Buffer.byteLength(body));
    sent.end(body);
  });

const headersOf = ({ rawHeaders }: IncomingMessage): [string, string][] => {
  const headers: [string, string][] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2)
    headers.push([rawHeaders[index]!, rawHeaders[index + 1]!]);
  return headers;
};
