import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from '@understudy/service/telemetry';
import type { Answering } from '../answering/answering.ts';
import type { Serving } from '../deployments/serving.ts';
import type { Metrics } from '../metrics.ts';
import type { Upstream } from '../proxy/upstream.ts';
import type { CallRecorder } from '../recording/call-recorder.ts';
import type { ApiKeys, Caller } from './api-keys.ts';

/** What every HTTP route works with. */
export interface HttpContext {
  answering: Answering;
  serving: Serving;
  keys: ApiKeys;
  /** Whom calls that are no task's are passed through to, if anyone. */
  upstream: Upstream | undefined;
  /** Present while calls that pass through are recorded. */
  recorder: CallRecorder | undefined;
  metrics: Metrics;
  log: Logger;
  /** True once all that is known to be deployed was tried, until the gateway drains. */
  isReady(): boolean;
}

/** One request on its route. */
export interface Call {
  caller: Caller;
  request: IncomingMessage;
  response: ServerResponse;
  /** The name in the path, where the route has one; empty elsewhere. */
  name: string;
}

/** Answers a call, or throws a RequestError. */
export type Handler = (context: HttpContext, call: Call) => Promise<void> | void;
