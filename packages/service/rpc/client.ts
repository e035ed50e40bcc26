import {
  create,
  type DescMethod,
  type DescService,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import type { GenService, GenServiceMethods } from '@bufbuild/protobuf/codegenv2';
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { maxMessageBytes, methodOf } from './definition.ts';
import { errorFromCall } from './status.ts';

export interface CallOptions {
  /** Of the whole call; a stream that is watched for long has none. */
  timeoutMs?: number;
  signal?: AbortSignal;
  traceparent?: string | undefined;
}

type Methods<S> = S extends GenService<infer M> ? M : never;

/** Calls of a service: unary ones resolve, streaming ones are iterated. */
export type RpcClient<S extends GenService<GenServiceMethods>> = {
  [K in keyof Methods<S>]: Methods<S>[K]['methodKind'] extends 'server_streaming'
    ? (
        request: MessageInitShape<Methods<S>[K]['input']>,
        options?: CallOptions,
      ) => AsyncIterable<MessageShape<Methods<S>[K]['output']>>
    : (
        request: MessageInitShape<Methods<S>[K]['input']>,
        options?: CallOptions,
      ) => Promise<MessageShape<Methods<S>[K]['output']>>;
} & { close(): void };

export interface ClientOptions {
  /** `host:port`. */
  address: string;
  token?: string | undefined;
}

/** Unary calls answer at once or not at all. */
const defaultTimeoutMs = 15_000;
/** A neighbour that restarts is found again soon. */
const maxReconnectMs = 1_000;

/**
 * A client for a generated service.
 * Calls throw RetryableError for passing faults (unavailable, deadline, overload), else RpcError with the status.
 */
export const createClient = <S extends GenService<GenServiceMethods>>(
  service: S,
  options: ClientOptions,
): RpcClient<S> => {
  const client = new Client(options.address, credentials.createInsecure(), {
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': maxReconnectMs,
  });
  const calls = (service as unknown as DescService).methods.map((method) => [
    method.localName,
    method.methodKind === 'server_streaming'
      ? streamingCall(client, method, options)
      : unaryCall(client, method, options),
  ]);
  return { ...Object.fromEntries(calls), close: () => client.close() } as RpcClient<S>;
};

const metadataOf = (options: ClientOptions, call: CallOptions): Metadata => {
  const metadata = new Metadata();
  if (options.token) metadata.set('authorization', `Bearer ${options.token}`);
  if (call.traceparent) metadata.set('traceparent', call.traceparent);
  return metadata;
};

const unaryCall = (client: Client, method: DescMethod, options: ClientOptions) => {
  const { path, requestSerialize, responseDeserialize } = methodOf(method);
  return (request: unknown, call: CallOptions = {}) =>
    new Promise<unknown>((resolve, reject) => {
      const message = create(method.input, request as never) as never;
      const deadline = Date.now() + (call.timeoutMs ?? defaultTimeoutMs);
      const cancel = () => pending.cancel();
      const done = (error: ServiceError | null, value?: unknown) => {
        call.signal?.removeEventListener('abort', cancel);
        if (error) reject(errorFromCall(error, `${method.name} at ${options.address}`));
        else resolve(value);
      };
      const pending = client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        message,
        metadataOf(options, call),
        { deadline },
        done,
      );
      call.signal?.addEventListener('abort', cancel, { once: true });
    });
};

const streamingCall = (client: Client, method: DescMethod, options: ClientOptions) => {
  const { path, requestSerialize, responseDeserialize } = methodOf(method);
  return async function* (request: unknown, call: CallOptions = {}) {
    const message = create(method.input, request as never) as never;
    const deadline = call.timeoutMs === undefined ? {} : { deadline: Date.now() + call.timeoutMs };
    const stream = client.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      message,
      metadataOf(options, call),
      deadline,
    );
    const cancel = () => stream.cancel();
    call.signal?.addEventListener('abort', cancel, { once: true });
    try {
      for await (const item of stream) yield item;
    } catch (error) {
      throw errorFromCall(error as ServiceError, `${method.name} at ${options.address}`);
    } finally {
      call.signal?.removeEventListener('abort', cancel);
      stream.cancel();
    }
  };
};
