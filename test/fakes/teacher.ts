/**
 * A teacher that is a real process: it speaks OpenAI's chat completions over HTTP and request/reply over NATS, answers
 * at once and always the same, fails on demand, and counts every call.
 *
 * Settings are one JSON argument (`Settings`). Managed over HTTP: `GET /stats`, `GET /batches`, `POST /behave` with a `Behaviour`,
 * `POST /reset`. Prints `listening on PORT` when it is ready.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect, nkeyAuthenticator } from '@nats-io/transport-node';
import { labelled } from './answers.ts';
import { type BatchBehaviour, FakeBatches } from './batches.ts';
import { chargeOf, contentOf, type Failure, refusalOf, tokensPerCall } from './failures.ts';

export interface Behaviour {
  /** Before each answer. */
  latencyMs?: number;
  /** So many calls since the last reset are answered; what comes after them waits until it is told to behave otherwise. */
  answers?: number;
  /** Shares of the calls that fail, by kind; a call's fate depends on its text and on how often it was asked. */
  failures?: Partial<Record<Failure, number>>;
  /** A teacher that has changed its mind: its labels are so many further than they were. */
  turn?: number;
  /** Labels of a teacher that does not judge by the words: of each text the first one when it is asked first, and so on around. */
  labels?: Record<string, readonly string[]>;
  /** How long a slow answer takes, and what a 429 asks for. */
  slowMs?: number;
  retryAfterMs?: number;
  /** How its batch files fare. */
  batches?: BatchBehaviour;
}

export interface Settings extends Behaviour {
  port?: number;
  natsUrl?: string;
  natsSeed?: string;
  natsSubject?: string;
}

export interface Stats {
  calls: number;
  /** Calls by text, only of texts that were asked more than once. */
  repeated: Record<string, number>;
  distinct: number;
  failed: number;
  inFlight: number;
  maxInFlight: number;
  /** When the first and the last call came, in ms of one clock; 0 before. */
  firstCallMs: number;
  lastCallMs: number;
  /** The longest time without a call between two. */
  longestPauseMs: number;
  /** Failed calls by kind. */
  failures: Record<string, number>;
  /** What this provider charged: for replies that it sent whole, and for work whose answer got lost on the way. */
  charged: { seenCalls: number; unseenCalls: number; inputTokens: number; outputTokens: number };
}

const settings = JSON.parse(process.argv[2] ?? '{}') as Settings;
let behaviour: Behaviour = settings;
let behaved = Promise.withResolvers<void>();
const batches = new FakeBatches();
const callsByText = new Map<string, number>();
let calls = 0;
let failed = 0;
let inFlight = 0;
let maxInFlight = 0;
let firstCallMs = 0;
let lastCallMs = 0;
let longestPauseMs = 0;
let failuresByKind: Record<string, number> = {};
let charged = { seenCalls: 0, unseenCalls: 0 };

const stats = (): Stats => ({
  calls,
  repeated: Object.fromEntries([...callsByText].filter(([, count]) => count > 1)),
  distinct: callsByText.size,
  failed,
  inFlight,
  maxInFlight,
  firstCallMs,
  lastCallMs,
  longestPauseMs,
  failures: failuresByKind,
  charged: {
    ...charged,
    inputTokens: (charged.seenCalls + charged.unseenCalls) * tokensPerCall.input,
    outputTokens: (charged.seenCalls + charged.unseenCalls) * tokensPerCall.output,
  },
});

const reset = () => {
  callsByText.clear();
  calls = 0;
  failed = 0;
  maxInFlight = inFlight;
  firstCallMs = 0;
  lastCallMs = 0;
  longestPauseMs = 0;
  failuresByKind = {};
  charged = { seenCalls: 0, unseenCalls: 0 };
};

/** A number in [0, 1) from a text and its attempt: FNV-1a, finished with a multiply and shift. */
const fate = (text: string, attempt: number): number => {
  let hash = 2_166_136_261 ^ attempt;
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 16_777_619);
  hash = Math.imul(hash ^ (hash >>> 15), 2_246_822_519);
  return ((hash ^ (hash >>> 13)) >>> 0) / 2 ** 32;
};

/** Counts a call, draws how it fails, if it does, and charges it. */
const drawFailure = (text: string): Failure | undefined => {
  const failure = fateOf(text);
  if (failure) {
    failed += 1;
    failuresByKind[failure] = (failuresByKind[failure] ?? 0) + 1;
  }
  const charge = chargeOf(failure);
  if (charge === 'seen') charged.seenCalls += 1;
  if (charge === 'unseen') charged.unseenCalls += 1;
  return failure;
};

const fateOf = (text: string): Failure | undefined => {
  const attempt = (callsByText.get(text) ?? 0) + 1;
  callsByText.set(text, attempt);
  calls += 1;
  const now = performance.now();
  if (lastCallMs > 0) longestPauseMs = Math.max(longestPauseMs, now - lastCallMs);
  lastCallMs = now;
  firstCallMs ||= now;
  let rest = fate(text, attempt);
  for (const [kind, share] of Object.entries(behaviour.failures ?? {})) {
    rest -= share;
    if (rest < 0) return kind as Failure;
  }
  return undefined;
};

/** Runs one call: waits its latency and keeps count of what is under way. */
const timed = async (failure: Failure | undefined, finish: () => void): Promise<void> => {
  inFlight += 1;
  maxInFlight = Math.max(maxInFlight, inFlight);
  const number = calls;
  while (number > (behaviour.answers ?? number)) await behaved.promise;
  const waitMs = failure === 'slow' ? (behaviour.slowMs ?? 60_000) : (behaviour.latencyMs ?? 0);
  if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
  inFlight -= 1;
  finish();
};

interface ChatRequest {
  messages: { role: string; content: string }[];
  response_format?: { json_schema?: { schema?: object } };
}

const labelFor = (text: string): string | undefined => {
  const labels = behaviour.labels?.[text];
  return labels?.[((callsByText.get(text) ?? 1) - 1) % labels.length];
};

const chat = (body: string, response: ServerResponse): void => {
  const request = JSON.parse(body) as ChatRequest;
  const text = request.messages.at(-1)!.content;
  const failure = drawFailure(text);
  void timed(failure, () => {
    if (failure === 'rate-limited') {
      response.setHeader('retry-after', String(Math.max(1, Math.round((behaviour.retryAfterMs ?? 1_000) / 1_000))));
      response.setHeader('retry-after-ms', String(behaviour.retryAfterMs ?? 1_000));
    }
    const refusal = refusalOf(failure);
    if (refusal) return refuse(response, refusal.status, refusal.message);
    if (failure === 'reset') return void response.socket?.destroy();
    const schema = request.response_format?.json_schema?.schema ?? {};
    const content = labelled(schema, labelFor(text)) ?? contentOf(failure, text, schema, behaviour.turn);
    const reply = JSON.stringify({
      id: `chatcmpl-${calls}`,
      object: 'chat.completion',
      created: 1,
      model: 'fake-2026-01',
      choices:
        failure === 'no-choices' ? [] : [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
      usage: { prompt_tokens: tokensPerCall.input, completion_tokens: tokensPerCall.output, total_tokens: 25 },
    });
    response.setHeader('content-type', 'application/json');
    response.end(failure === 'truncated' ? reply.slice(0, reply.length >> 1) : reply);
  });
};

const refuse = (response: ServerResponse, status: number, message: string): void => {
  response
    .writeHead(status, { 'content-type': 'application/json' })
    .end(JSON.stringify({ error: { message, type: 'fake' } }));
};

const bodyOf = async (request: IncomingMessage): Promise<string> => {
  let body = '';
  for await (const chunk of request.setEncoding('utf8')) body += chunk;
  return body;
};

const serveHttp = async (): Promise<number> => {
  const server = createServer({ keepAliveTimeout: 60_000 }, async (request, response) => {
    const body = await bodyOf(request);
    if (request.url === '/v1/chat/completions') chat(body, response);
    else if (/^\/v1\/(files|batches)\b/.test(request.url ?? '')) await batches.answer(request, body, response);
    else if (request.url === '/batches') response.end(JSON.stringify(batches.stats()));
    else if (request.url === '/stats') response.end(JSON.stringify(stats()));
    else if (request.url === '/behave') {
      behaviour = JSON.parse(body) as Behaviour;
      behaved.resolve();
      behaved = Promise.withResolvers();
      batches.behaviour = behaviour.batches ?? {};
      response.end();
    } else if (request.url === '/reset') {
      reset();
      batches.reset();
      response.end();
    } else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(settings.port ?? 0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
};

interface BusRequest {
  text: string;
  schema: object;
}

const serveNats = async (url: string, subject: string): Promise<void> => {
  const seed = settings.natsSeed;
  const auth = seed
    ? { authenticator: nkeyAuthenticator(new TextEncoder().encode(seed)), inboxPrefix: '_INBOX.operator' }
    : {};
  const nc = await connect({
    servers: url,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 100,
    waitOnFirstConnect: true,
    noAsyncTraces: true,
    ...auth,
  });
  nc.subscribe(subject, {
    callback: (_error, message) => {
      const request = message.json<BusRequest>();
      const failure = drawFailure(request.text);
      void timed(failure, () => {
        if (failure === 'reset') return;
        const error = refusalOf(failure);
        const content = contentOf(failure, request.text, request.schema, behaviour.turn);
        const reply = JSON.stringify(
          error
            ? { error: { ...error, ...(failure === 'rate-limited' ? { retry_after_ms: behaviour.retryAfterMs } : {}) } }
            : {
                content,
                model: 'fake-2026-01',
                usage: { input_tokens: tokensPerCall.input, output_tokens: tokensPerCall.output },
              },
        );
        message.respond(failure === 'truncated' ? reply.slice(0, reply.length >> 1) : reply);
      });
    },
  });
  await nc.flush();
};

const port = await serveHttp();
if (settings.natsUrl) await serveNats(settings.natsUrl, settings.natsSubject ?? 'models.fake');
process.stdout.write(`listening on ${port}\n`);
