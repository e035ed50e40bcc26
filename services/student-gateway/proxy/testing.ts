/** An upstream that answers as it is told, and remembers what it was asked. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What came, byte for byte. */
export interface Received {
  method: string;
  url: string;
  /** Names and values in turn. */
  headers: string[];
  body: Buffer;
}

export type Script = (request: Received, response: ServerResponse, raw: IncomingMessage) => unknown;

export const completion = (content: string, usage = { prompt_tokens: 20, completion_tokens: 5, total_tokens: 25 }) => ({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model: 'large-2026-01',
  choices: [
    { index: 0, message: { role: 'assistant', content, refusal: null }, logprobs: null, finish_reason: 'stop' },
  ],
  usage,
});

export class FakeUpstream implements AsyncDisposable {
  readonly received: Received[] = [];
  /** What it does with a request. */
  script: Script = (_request, response) => sendCompletion(response, '{"topic":"bill"}');
  readonly #server: Server;

  private constructor() {
    this.#server = createServer({ keepAliveTimeout: 60_000 }, async (raw, response) => {
      const chunks: Buffer[] = [];
      raw.on('error', () => {}); // a client that goes away is part of some scripts
      raw.on('data', (chunk: Buffer) => chunks.push(chunk));
      raw.on('end', () => {
        const { method, url, rawHeaders: headers } = raw;
        const received = { method: method!, url: url!, headers, body: Buffer.concat(chunks) };
        this.received.push(received);
        this.script(received, response, raw);
      });
    });
  }

  static async start(): Promise<FakeUpstream> {
    const upstream = new FakeUpstream();
    upstream.#server.listen(0, '127.0.0.1');
    await once(upstream.#server, 'listening');
    return upstream;
  }

  get baseUrl(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

export const sendCompletion = (response: ServerResponse, content: string): void => {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(completion(content)));
};

/** A reply as it came: names and values of its headers in turn. */
export interface RawReply {
  status: number;
  message: string;
  headers: string[];
  body: Buffer;
}

/** Sends a request with exactly these headers on a connection of its own. @throws Error where the reply breaks off */
export const exchange = (
  url: string,
  method: string,
  headers: readonly string[],
  body: Buffer | string = '',
): Promise<RawReply> =>
  new Promise((resolve, reject) => {
    const sent = request(
      url,
      { method, headers: ['Host', new URL(url).host, ...headers] as never, agent: false },
      (reply) => {
        const chunks: Buffer[] = [];
        reply.on('data', (chunk: Buffer) => chunks.push(chunk));
        reply.on('error', reject);
        reply.on('end', () =>
          resolve({
            status: reply.statusCode!,
            message: reply.statusMessage!,
            headers: reply.rawHeaders,
            body: Buffer.concat(chunks),
          }),
        );
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });

/** Values of one header, in their order. */
export const valuesOf = (headers: readonly string[], name: string): string[] =>
  headers.filter((_, index) => index % 2 === 1 && headers[index - 1]!.toLowerCase() === name);
