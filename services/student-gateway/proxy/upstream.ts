import { once } from 'node:events';
import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import { messageOf } from '@understudy/service/errors';
import type { Logger } from '@understudy/service/telemetry';
import { badRequest, RequestError } from '../errors.ts';
import type { Call } from '../http/context.ts';
import {
  maxIdleUpstreamConnections,
  maxModelListBytes,
  maxPassedBodyBytes,
  upstreamConnectMs,
  upstreamIdleMs,
  upstreamSilenceMs,
} from '../limits.ts';
import type { Metrics } from '../metrics.ts';
import { headersForUpstream } from './headers.ts';
import { type PassedBody, sendBody, tooLargeToPass } from './passed-body.ts';
import { relay } from './relay.ts';

/** Follows one exchange as it passes: for recording. */
export interface Tap {
  /** The upstream's status. */
  begin(status: number, headers: IncomingMessage['headers']): void;
  /** A part of the reply's body. */
  chunk(bytes: Buffer): void;
  /** The reply went to the client as a whole; else it broke off, or never came. */
  end(complete: boolean): void;
}

export interface UpstreamOptions {
  /** With the path that stands for `/v1`, e.g. `https://api.openai.com/v1`. */
  baseUrl: string;
  metrics: Metrics;
  log: Logger;
}

/** How an exchange is sent on. */
export interface Passing {
  body: PassedBody;
  /** False where `authorization` holds a key of this gateway's. */
  keepAuthorization: boolean;
  tap?: Tap | undefined;
}

/** Whom calls are passed through to. */
export class Upstream {
  readonly #options: UpstreamOptions;
  readonly #url: URL;
  /** Path that takes the place of `/v1`. */
  readonly #basePath: string;
  readonly #request: typeof httpRequest;
  readonly #agent: HttpAgent;

  constructor(options: UpstreamOptions) {
    this.#options = options;
    this.#url = new URL(options.baseUrl);
    this.#basePath = this.#url.pathname.replace(/\/+$/, '');
    const secure = this.#url.protocol === 'https:';
    this.#request = secure ? httpsRequest : httpRequest;
    const pool = { keepAlive: true, maxFreeSockets: maxIdleUpstreamConnections, timeout: upstreamIdleMs };
    this.#agent = secure ? new HttpsAgent(pool) : new HttpAgent(pool);
  }

  /** For records: where it is. */
  get baseUrl(): string {
    return this.#options.baseUrl;
  }

  /**
   * Sends a request on and its reply back, both as they come and at the pace of the slower side. Resolves when the
   * exchange is over, however it ended once the reply had begun.
   * @throws RequestError: upstream-unavailable (no reply came), bad-request (a path that leaves the base)
   */
  async pass(call: Call, passing: Passing): Promise<void> {
    const { tap, body } = passing;
    if (Number(call.request.headers['content-length'] ?? 0) > maxPassedBodyBytes) throw tooLargeToPass();
    try {
      await this.#exchange(call, passing, true);
    } catch (error) {
      tap?.end(false);
      if (error instanceof RequestError) throw error;
      this.#options.metrics.passed.inc({ outcome: 'unreachable' });
      this.#options.log.warn({ error: messageOf(error) }, 'the upstream did not answer');
      const how = body.complete ? '' : ' while the body was sent';
      throw new RequestError('upstream-unavailable', `the upstream cannot be reached${how}; try again later`, {
        cause: error,
      });
    }
  }

  /** The upstream's list of models, asked for as this client; empty where it gives none. */
  async models({ headers: { authorization } }: IncomingMessage, keepAuthorization: boolean): Promise<unknown[]> {
    const own = authorization !== undefined && keepAuthorization ? ['Authorization', authorization] : [];
    const sent = this.#send('GET', `${this.#basePath}/models`, ['Accept', 'application/json', ...own]);
    try {
      const [reply] = (await once(sent.end(), 'response')) as [IncomingMessage];
      const { data } = JSON.parse(await textOf(reply)) as { data?: unknown };
      return reply.statusCode === 200 && Array.isArray(data) ? data : [];
    } catch (error) {
      sent.destroy();
      this.#options.log.warn({ error: messageOf(error) }, 'the upstream lists no models');
      return [];
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  #exchange(call: Call, passing: Passing, mayRetry: boolean): Promise<void> {
    const { request, response } = call;
    const { body, keepAuthorization, tap } = passing;
    const headers = headersForUpstream(request.rawHeaders, request.headers.connection, keepAuthorization);
    headers.push(...body.framing);
    const sent = this.#send(request.method!, this.#pathOf(request.url!), headers);
    return new Promise((resolve, reject) => {
      let replied = false;
      response.on('close', () => {
        if (response.writableFinished) return;
        sent.destroy();
        if (replied) return;
        this.#options.metrics.passed.inc({ outcome: 'client-gone' });
        tap?.end(false);
        resolve();
      });
      sent.on('response', (reply) => {
        if (reply.statusCode! < 200) return void sent.destroy(new Error(`no final reply: status ${reply.statusCode}`));
        replied = true;
        tap?.begin(reply.statusCode!, reply.headers);
        relay(reply, response, tap).then(
          (outcome) => {
            this.#options.metrics.passed.inc({ outcome });
            resolve();
          },
          (error) => {
            sent.destroy();
            reject(error);
          },
        );
      });
      sent.on('error', (error: NodeJS.ErrnoException) => {
        if (replied || response.destroyed) return; // seen by the reply, or the client's own doing
        // An idle connection that the upstream closed in the same moment: it never saw the request.
        const stale = sent.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
        if (stale && mayRetry && body.complete) resolve(this.#exchange(call, passing, false));
        else reject(error);
      });
      sendBody(body, request, sent).catch(reject);
    });
  }

  #send(method: string, path: string, headers: string[]): ClientRequest {
    const { hostname, port, host } = this.#url;
    const sent = this.#request({
      agent: this.#agent,
      host: hostname.replace(/^\[|\]$/g, ''),
      port,
      method,
      path,
      headers: ['Host', host, ...headers] as never,
      timeout: upstreamSilenceMs,
    });
    sent.on('timeout', () => sent.destroy(new Error(`the upstream was silent for ${upstreamSilenceMs} ms`)));
    sent.on('socket', limitConnecting);
    return sent;
  }

  /** @throws RequestError (bad-request) for a path that would leave the base */
  #pathOf(url: string): string {
    if (/(^|\/)(\.|%2e){1,2}(\/|$)/i.test(url.split('?', 1)[0]!))
      throw badRequest('the path: expected one without dots');
    return this.#basePath + url.slice('/v1'.length);
  }
}

/** @throws Error for more than a list of models takes */
const textOf = async (reply: IncomingMessage): Promise<string> => {
  let text = '';
  for await (const part of reply.setEncoding('utf8')) {
    text += part;
    if (text.length > maxModelListBytes)
      throw new Error(`expected a list of models, came over ${maxModelListBytes} bytes`);
  }
  return text;
};

/** A connection that does not come about is given up sooner than one that is silent. */
const limitConnecting = (socket: Socket): void => {
  if (!socket.connecting) return;
  const timer = setTimeout(
    () => socket.destroy(new Error(`no connection within ${upstreamConnectMs} ms`)),
    upstreamConnectMs,
  );
  socket.once('connect', () => clearTimeout(timer));
  socket.once('close', () => clearTimeout(timer));
};
