import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { messageOf, StartupError } from '@understudy/service/errors';
import { isLoopback } from '@understudy/service/rpc/server';
import { RequestError } from '../errors.ts';
import {
  connectionCheckMs,
  headersTimeoutMs,
  keepAliveTimeoutMs,
  maxConnections,
  maxHeaderBytes,
  requestTimeoutMs,
  uploadTimeoutMs,
} from '../limits.ts';
import type { HttpContext } from './context.ts';
import { openAiError, sendError } from './respond.ts';
import { answerOnRoute, errorFormatOf } from './routes.ts';

/** While draining: how often connections that went idle are closed. */
const idleSweepMs = 50;
/** While draining: a connection that has not asked anything by then will not be waited for. */
const silentGraceMs = 500;

/** The clients' side of the gateway. */
export class HttpServer {
  readonly #context: HttpContext;
  readonly #server: Server;
  /** Connections without a request so far: Node does not count them as idle. */
  readonly #silent = new Set<Socket>();
  #draining = false;

  constructor(context: HttpContext) {
    this.#context = context;
    this.#server = createServer(
      {
        maxHeaderSize: maxHeaderBytes,
        headersTimeout: headersTimeoutMs,
        requestTimeout: context.upstream ? uploadTimeoutMs : requestTimeoutMs,
        connectionsCheckingInterval: connectionCheckMs,
        keepAliveTimeout: keepAliveTimeoutMs,
      },
      (request, response) => void this.#handle(request, response),
    );
    this.#server.maxConnections = maxConnections;
    this.#server.on('connection', (socket: Socket) => {
      this.#silent.add(socket);
      socket.once('close', () => this.#silent.delete(socket));
    });
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket) => refuse(error, socket));
  }

  /** @throws StartupError when the address cannot be bound, or is open to others without keys */
  async listen(host: string, port: number): Promise<number> {
    if (!this.#context.keys.required && !isLoopback(host)) {
      throw new StartupError(`HTTP_HOST ${host} is open to other machines: set API_KEYS_FILE, or listen on 127.0.0.1`);
    }
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error) =>
        reject(
          new StartupError(`cannot listen on ${host}:${port} (HTTP_HOST, HTTP_PORT): ${error.message}`, {
            cause: error,
          }),
        ),
      );
      this.#server.listen(port, host, resolve);
    });
    const address = this.#server.address();
    return typeof address === 'object' && address ? address.port : port;
  }

  /** Takes no new connection, answers what was begun, and cuts what is left after the grace. */
  async close(graceMs: number): Promise<void> {
    this.#draining = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    const sweep = setInterval(() => this.#server.closeIdleConnections(), idleSweepMs);
    const silence = setTimeout(() => {
      for (const socket of this.#silent) socket.destroy();
    }, silentGraceMs);
    const force = setTimeout(() => this.#server.closeAllConnections(), graceMs);
    await closed;
    clearInterval(sweep);
    clearTimeout(silence);
    clearTimeout(force);
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#silent.delete(request.socket);
    if (this.#draining) response.shouldKeepAlive = false;
    try {
      await answerOnRoute(this.#context, request, response);
    } catch (error) {
      this.#fail(request, response, error);
    }
  }

  #fail(request: IncomingMessage, response: ServerResponse, thrown: unknown): void {
    const { metrics, log } = this.#context;
    if (thrown instanceof RequestError) {
      metrics.failures.inc({ kind: thrown.kind });
      if (!response.headersSent && !response.destroyed) sendError(response, thrown, errorFormatOf(request));
      return;
    }
    if (request.destroyed && !request.complete) return; // the client went away in the middle of its request
    metrics.failures.inc({ kind: 'internal' });
    const stack = thrown instanceof Error ? thrown.stack : undefined;
    log.error({ url: request.url, error: messageOf(thrown), stack }, 'a request failed');
    const error = new RequestError('internal', 'this gateway failed; its log says why', { cause: thrown });
    if (!response.headersSent) sendError(response, error, errorFormatOf(request));
  }
}

/** What could not even be read as a request: its status and what to tell its sender. */
const unreadable: Record<string, [string, string]> = {
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', `expected headers of at most ${maxHeaderBytes} bytes`],
  ERR_HTTP_REQUEST_TIMEOUT: [
    '408 Request Timeout',
    `expected headers within ${headersTimeoutMs} ms, and the whole request without a long pause`,
  ],
};

const refuse = (error: NodeJS.ErrnoException, socket: Duplex): void => {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const [status, message] = unreadable[error.code ?? ''] ?? ['400 Bad Request', 'expected an HTTP/1.1 request'];
  const body = JSON.stringify(openAiError(new RequestError('bad-request', message)));
  const head = `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close`;
  socket.end(`HTTP/1.1 ${status}\r\n${head}\r\n\r\n${body}`);
};
