import { createWriteStream, mkdirSync, type WriteStream } from 'node:fs';
import { join } from 'node:path';
import {
  type Attributes,
  type Context,
  ROOT_CONTEXT,
  type Span,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, type ReadableSpan, type SpanExporter, TracerProvider } from '@opentelemetry/sdk-trace';
import { type Logger, pino } from 'pino';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { messageOf } from './errors.ts';

export type { Logger, Registry, Span };

export interface TelemetryOptions {
  service: string;
  logLevel: string;
  otlpEndpoint?: string | undefined;
  tracesDir?: string | undefined;
}

/** Local span files stop growing here; a collector has no such limit. */
const maxTraceFileBytes = 64 * 1024 * 1024;

/** Logs, metrics and traces of one service. Secrets must never be given to it. */
export class Telemetry {
  readonly log: Logger;
  readonly metrics = new Registry();
  readonly #provider: TracerProvider;
  readonly #tracer: Tracer;

  constructor(options: TelemetryOptions) {
    this.log = pino({
      name: options.service,
      level: options.logLevel,
      base: { name: options.service, pid: process.pid },
    });
    this.metrics.setDefaultLabels({ service: options.service });
    collectDefaultMetrics({ register: this.metrics });
    const exporters: SpanExporter[] = [];
    if (options.otlpEndpoint) {
      exporters.push(new OTLPTraceExporter({ url: `${options.otlpEndpoint.replace(/\/$/, '')}/v1/traces` }));
    }
    if (options.tracesDir) exporters.push(new FileSpanExporter(options.tracesDir, options.service, this.log));
    this.#provider = new TracerProvider({
      resource: resourceFromAttributes({ 'service.name': options.service }),
      spanProcessors: exporters.map((exporter) => new BatchSpanProcessor({ exporter, maxQueueSize: 16_384 })),
    });
    this.#tracer = this.#provider.getTracer('understudy');
  }

  /**
   * Starts a span; end it with `span.end()`. A parent that is not sampled gives a span that records nothing.
   * @param parent W3C traceparent of the cause; a new trace begins where it is absent or malformed
   */
  startSpan(name: string, parent?: string, attributes: Attributes = {}): Span {
    return this.#tracer.startSpan(name, { attributes }, contextOf(parent));
  }

  /** Runs work inside a span; an error marks the span and is thrown on. */
  async span<T>(
    name: string,
    parent: string | undefined,
    attributes: Attributes,
    work: (span: Span) => Promise<T>,
  ): Promise<T> {
    const span = this.startSpan(name, parent, attributes);
    try {
      return await work(span);
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR, message: messageOf(error) });
      throw error;
    } finally {
      span.end();
    }
  }

  async shutdown(): Promise<void> {
    await this.#provider.shutdown();
    this.log.flush();
  }
}

/** W3C Trace Context (https://www.w3.org/TR/trace-context/), version 00. */
const traceparentPattern = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/** `traceparent` of a span. */
export const traceparentOf = (span: Span): string => {
  const { traceId, spanId, traceFlags } = span.spanContext();
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
};

/** The same trace and parent, marked as not sampled: what hangs below it is not recorded. */
export const unsampled = (traceparent: string): string => `${traceparent.slice(0, -2)}00`;

/** Whether what hangs below it is recorded. */
export const isSampled = (traceparent: string | undefined): boolean =>
  traceparent !== undefined && (Number.parseInt(traceparent.slice(-2), 16) & 1) === 1;

const contextOf = (traceparent: string | undefined): Context => {
  const match = traceparent === undefined ? null : traceparentPattern.exec(traceparent);
  if (!match) return ROOT_CONTEXT;
  const parent = {
    traceId: match[1]!,
    spanId: match[2]!,
    traceFlags: Number.parseInt(match[3]!, 16) & 1,
    isRemote: true,
  };
  return trace.setSpanContext(ROOT_CONTEXT, parent);
};

class FileSpanExporter implements SpanExporter {
  readonly #stream: WriteStream;
  readonly #log: Logger;
  #failed = false;

  constructor(folder: string, service: string, log: Logger) {
    mkdirSync(folder, { recursive: true });
    this.#log = log;
    this.#stream = createWriteStream(join(folder, `${service}.jsonl`), { flags: 'a' });
    this.#stream.on('error', (error) => this.#stop(messageOf(error)));
  }

  export(spans: ReadableSpan[], done: (result: { code: number }) => void): void {
    if (!this.#failed && this.#stream.bytesWritten > maxTraceFileBytes)
      this.#stop(`the file reached ${maxTraceFileBytes} bytes`);
    if (!this.#failed) this.#stream.write(spans.map((span) => `${JSON.stringify(spanRecord(span))}\n`).join(''));
    done({ code: 0 });
  }

  #stop(reason: string): void {
    if (!this.#failed) this.#log.warn({ reason }, 'spans are no longer written to a file');
    this.#failed = true;
  }

  shutdown(): Promise<void> {
    return new Promise((resolve) => this.#stream.end(resolve));
  }

  forceFlush(): Promise<void> {
    return Promise.resolve();
  }
}

const milliseconds = ([seconds, nanoseconds]: readonly [number, number]) => seconds * 1_000 + nanoseconds / 1_000_000;

const spanRecord = (span: ReadableSpan) => ({
  traceId: span.spanContext().traceId,
  spanId: span.spanContext().spanId,
  parentSpanId: span.parentSpanContext?.spanId,
  name: span.name,
  startMs: milliseconds(span.startTime),
  endMs: milliseconds(span.endTime),
  attributes: span.attributes,
  status: span.status.code === SpanStatusCode.ERROR ? 'error' : 'ok',
});
