/**
 * A process that speaks Anthropic's messages API: it answers at once and always the same, in the format that it is asked for,
 * refuses requests that the API would refuse, and fails on demand.
 *
 * Managed over HTTP: `POST /behave` with a `Behaviour`. Prints `listening on PORT` when it is ready.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { answerOf } from './answers.ts';

/** Ways to fail; all calls do until told otherwise. */
export type Failure =
  | 'unauthorized'
  | 'rate-limited'
  | 'server-error'
  | 'overloaded'
  | 'slow'
  | 'truncated'
  | 'reset'
  | 'refusal'
  | 'max-tokens'
  | 'no-content'
  | 'error-in-body'
  | 'redirect';

export interface Behaviour {
  failure?: Failure;
  /** Before each answer. */
  latencyMs?: number;
  retryAfterMs?: number;
}

interface Request {
  model: string;
  max_tokens: number;
  system: string;
  messages: { role: string; content: string }[];
  output_config: { format: { type: string; schema: object } };
}

let behaviour: Behaviour = {};

interface Reply {
  status: number;
  body: object;
  headers?: Record<string, string>;
}

const send = (response: ServerResponse, { status, body, headers = {} }: Reply): void => {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
};

const refusal = (status: number, type: string, text: string, headers: Record<string, string> = {}): Reply => ({
  ...{ status, headers },
  body: { type: 'error', error: { type, message: text } },
});

/** What the API would find wrong with a request. */
const faultOf = ({ headers }: IncomingMessage, request: Request): string | undefined => {
  if (!headers['anthropic-version']) return 'anthropic-version: header is required';
  if (!(request.max_tokens >= 1)) return 'max_tokens: expected at least 1';
  if (request.output_config?.format?.type !== 'json_schema') return 'output_config.format: expected a JSON schema';
  const empty = request.messages.findIndex(({ content }) => content.trim() === '');
  return empty < 0 ? undefined : `messages.${empty}: text content blocks must be non-empty`;
};

const message = (text: string, request: Request, more: object = {}): object => ({
  ...{ id: 'msg_1', type: 'message', role: 'assistant', model: 'fake-2026-01', stop_sequence: null },
  content: [
    { type: 'thinking', thinking: 'hm', signature: 's' },
    { type: 'text', text },
  ],
  stop_reason: 'end_turn',
  usage: { input_tokens: 20, output_tokens: Math.min(5, request.max_tokens) },
  ...more,
});

/** Failures that are a whole reply. */
const replyOf = (kind: Failure, key: string, text: string, request: Request): Reply | undefined => {
  const ok = (body: object): Reply => ({ status: 200, body });
  const seconds = String(Math.ceil((behaviour.retryAfterMs ?? 1_000) / 1_000));
  const why = { type: 'refusal', category: null, explanation: 'not that' };
  const replies: Partial<Record<Failure, Reply>> = {
    unauthorized: refusal(401, 'authentication_error', `invalid credentials: ${key}`, { 'x-echo': key }),
    'rate-limited': refusal(429, 'rate_limit_error', 'slow down', { 'retry-after': seconds }),
    'server-error': refusal(500, 'api_error', 'the model fell over'),
    overloaded: refusal(529, 'overloaded_error', 'Overloaded'),
    'error-in-body': refusal(200, 'overloaded_error', 'Overloaded'),
    redirect: { status: 307, body: {}, headers: { location: 'http://127.0.0.1:1/' } },
    'no-content': ok(message('', request, { content: [] })),
    refusal: ok(message('', request, { content: [], stop_reason: 'refusal', stop_details: why })),
    'max-tokens': ok(message(text.slice(0, 4), request, { stop_reason: 'max_tokens' })),
  };
  return replies[kind];
};

const answer = async (asked: IncomingMessage, body: string, response: ServerResponse): Promise<void> => {
  const request = JSON.parse(body) as Request;
  const key = asked.headers.authorization ?? asked.headers['x-api-key'];
  const fault = key ? faultOf(asked, request) : 'no key';
  if (fault) {
    send(response, key ? refusal(400, 'invalid_request_error', fault) : refusal(401, 'authentication_error', fault));
    return;
  }
  const { failure, latencyMs = 0 } = behaviour;
  const waitMs = failure === 'slow' ? 60_000 : latencyMs;
  if (waitMs > 0) await new Promise((wake) => setTimeout(wake, waitMs).unref());
  const text = answerOf(request.messages.at(-1)!.content, request.output_config.format.schema);
  const failed = failure && replyOf(failure, String(key), text, request);
  if (failed) send(response, failed);
  else if (failure === 'reset') response.socket?.destroy();
  else if (failure === 'truncated') {
    const whole = JSON.stringify(message(text, request));
    response.writeHead(200, { 'content-type': 'application/json' }).end(whole.slice(0, whole.length >> 1));
  } else send(response, { status: 200, body: message(text, request) });
};

const server = createServer({ keepAliveTimeout: 60_000 }, async (request, response) => {
  let body = '';
  for await (const chunk of request.setEncoding('utf8')) body += chunk;
  if (request.url === '/v1/messages') await answer(request, body, response);
  else if (request.url === '/behave') {
    behaviour = JSON.parse(body) as Behaviour;
    response.end();
  } else response.writeHead(404).end();
});
server.listen(0, '127.0.0.1', () => process.stdout.write(`listening on ${(server.address() as AddressInfo).port}\n`));
