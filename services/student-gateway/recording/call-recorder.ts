import { randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate, zstdDecompress } from 'node:zlib';
import type { OutgoingEvent } from '@understudy/service/bus/event';
import { messageOf } from '@understudy/service/errors';
import type { Logger } from '@understudy/service/telemetry';
import { type ChatCall, canonicalJson, readCall, workloadId } from '@understudy/task';
import {
  maxBytesBeingRecorded,
  maxKnownWorkloads,
  maxRecordedPromptBytes,
  maxRecordedReplyBytes,
  maxRecordedTextBytes,
  workloadRepeatMs,
} from '../limits.ts';
import type { Metrics } from '../metrics.ts';
import type { Tap } from '../proxy/upstream.ts';
import type { TrafficRecorder } from '../traffic/recorder.ts';
import type { Price, Prices } from './prices.ts';
import { type ReplyContent, readCompletion, readStream } from './reply-content.ts';

export interface CallRecorderOptions {
  traffic: TrafficRecorder;
  prices: Prices;
  /** Base URL of who answers. */
  upstream: string;
  metrics: Metrics;
  log: Logger;
}

/** One exchange, over as far as the client is concerned. */
interface Exchange {
  body: Buffer;
  status: number;
  complete: boolean;
  encoding: string | undefined;
  isStream: boolean;
  reply: Buffer[];
  startedMs: number;
  endedMs: number;
}

type Unpack = (packed: Buffer, limit: { maxOutputLength: number }) => Promise<Buffer>;
const unpackers: ReadonlyMap<string, Unpack> = new Map<string, Unpack>([
  ['gzip', promisify(gunzip)],
  ['deflate', promisify(inflate)],
  ['br', promisify(brotliDecompress)],
  ['zstd', promisify(zstdDecompress)],
]);

/**
 * Makes facts of calls that pass through. While a call passes, references to its bytes are kept and nothing else is done;
 * they are read after the client has its reply. Headers are never looked at beyond how the reply is encoded, so no
 * credentials get into a record.
 */
export class CallRecorder {
  readonly #options: CallRecorderOptions;
  /** When a workload's prompt and schema were last told. */
  readonly #told = new Map<string, number>();
  /** Of exchanges under way and not yet read. */
  #bytes = 0;
  readonly #reading = new Set<Promise<void>>();

  constructor(options: CallRecorderOptions) {
    this.#options = options;
  }

  /** Follows one exchange whose request has this body; undefined where too much is held already. */
  follow(chunks: readonly Buffer[]): Tap | undefined {
    if (this.#bytes > maxBytesBeingRecorded) {
      this.#options.metrics.trafficDropped.inc();
      return undefined;
    }
    const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
    const exchange: Exchange = {
      ...{ body, status: 0, complete: false, encoding: undefined, isStream: false, reply: [] },
      ...{ startedMs: performance.now(), endedMs: 0 },
    };
    let held = body.length;
    let replyBytes = 0;
    this.#bytes += held;
    return {
      begin: (status, headers) => {
        exchange.status = status;
        exchange.encoding = headers['content-encoding'];
        exchange.isStream = headers['content-type']?.startsWith('text/event-stream') ?? false;
      },
      chunk: (bytes) => {
        replyBytes += bytes.length;
        if (replyBytes > maxRecordedReplyBytes || this.#bytes > maxBytesBeingRecorded) {
          exchange.reply.length = 0; // it is counted without what it said
          replyBytes = Number.POSITIVE_INFINITY;
          return;
        }
        exchange.reply.push(bytes);
        held += bytes.length;
        this.#bytes += bytes.length;
      },
      end: (complete) => {
        exchange.complete = complete && replyBytes !== Number.POSITIVE_INFINITY;
        if (!complete) exchange.status = 0;
        exchange.endedMs = performance.now();
        const reading = this.#record(exchange).finally(() => {
          this.#bytes -= held;
          this.#reading.delete(reading);
        });
        this.#reading.add(reading);
      },
    };
  }

  /** Resolves when all that has passed is in the hands of the traffic recorder. */
  async stop(): Promise<void> {
    await Promise.all(this.#reading);
  }

  async #record(exchange: Exchange): Promise<void> {
    const { traffic, log } = this.#options;
    await afterReplies(); // the client's last bytes leave first
    try {
      const call = readCall(parsed(exchange.body));
      if (!call) return;
      const reply = await replyOf(exchange, call);
      const event = this.#eventOf(exchange, call, reply);
      traffic.record({ event, bytes: (event.payload.input?.length ?? 0) + (event.payload.output?.length ?? 0) });
    } catch (error) {
      log.error({ error: messageOf(error) }, 'a call could not be recorded');
    }
  }

  #eventOf(exchange: Exchange, call: ChatCall, { output, model, usage }: ReplyContent) {
    const { prices, upstream } = this.#options;
    const workload = workloadId(call.system, call.schema);
    const callId = randomUUID();
    const price: Price | undefined = prices.of(model, call.model);
    const atMs = Date.now();
    return {
      type: 'call.observed',
      entity: callId,
      payload: {
        task: `w-${workload.slice(0, 16)}`,
        taskDigest: workload,
        callId,
        at: { seconds: BigInt(Math.floor(atMs / 1_000)), nanos: (atMs % 1_000) * 1_000_000 },
        ...this.#definitionOf(workload, call, atMs),
        upstream,
        model: clean(call.model).slice(0, maxNameCharacters),
        ...contentOf(exchange, call, output),
        ...(usage && { inputTokens: BigInt(usage.inputTokens), outputTokens: BigInt(usage.outputTokens) }),
        ...(price && { inputPrice: price.inputUsdPerMillionTokens, outputPrice: price.outputUsdPerMillionTokens }),
        durationUs: BigInt(Math.round((exchange.endedMs - exchange.startedMs) * 1_000)),
        status: exchange.status,
        obstacle: call.obstacle ?? '',
      },
    } satisfies OutgoingEvent<'call.observed'>;
  }

  /** What makes the workload, where it was not told for a while. */
  #definitionOf(
    workload: string,
    { system, schema }: ChatCall,
    nowMs: number,
  ): { system?: string; schemaJson?: string } {
    const toldMs = this.#told.get(workload);
    if (toldMs !== undefined && nowMs - toldMs < workloadRepeatMs) return {};
    const schemaJson = schema === undefined ? '' : canonicalJson(schema);
    if (system.length + schemaJson.length > maxRecordedPromptBytes) return {};
    this.#told.delete(workload);
    this.#told.set(workload, nowMs);
    const [oldest] = this.#told.keys();
    if (this.#told.size > maxKnownWorkloads && oldest !== undefined) this.#told.delete(oldest);
    return { system: clean(system), schemaJson: clean(schemaJson) };
  }
}

const afterReplies = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Names of models are short; what is not one is cut. */
const maxNameCharacters = 200;

/** Neither protobuf nor PostgreSQL holds these. */
const clean = (text: string): string => text.toWellFormed().replaceAll('\0', '\uFFFD');

const parsed = (bytes: Buffer): unknown => {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined; // the upstream refuses it; there is nothing to record
  }
};

const replyOf = async (
  { reply, complete, status, encoding, isStream }: Exchange,
  call: ChatCall,
): Promise<ReplyContent> => {
  const nothing = { output: undefined, model: undefined, usage: undefined };
  if (!complete || status !== 200) return nothing;
  const packed = Buffer.concat(reply);
  const unpack = unpackers.get(encoding ?? '');
  if (!unpack && encoding !== undefined && encoding !== 'identity') return nothing;
  const body = (unpack ? await unpack(packed, { maxOutputLength: maxRecordedReplyBytes }) : packed).toString('utf8');
  return isStream ? readStream(body, call.tool) : readCompletion(body, call.tool);
};

/** Input and output, where the call is one of each and both are of a size that tasks have. */
const contentOf = (
  { status }: Exchange,
  { user, obstacle, schema }: ChatCall,
  output: string | undefined,
): { input?: string; output?: string } => {
  if (status !== 200 || obstacle !== undefined || user === undefined || output === undefined) return {};
  if (user.length + output.length > maxRecordedTextBytes) return {};
  return { input: clean(user), output: clean(schema === undefined ? output : comparable(output)) };
};

/** Answers that say the same are the same text. */
const comparable = (output: string): string => {
  try {
    return canonicalJson(JSON.parse(output));
  } catch {
    return output; // prose in the place of JSON is what it is
  }
};
