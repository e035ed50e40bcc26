import { timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import {
  create,
  type DescMethod,
  type DescService,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import type { GenService, GenServiceMethods } from '@bufbuild/protobuf/codegenv2';
import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  type Metadata,
  Server,
  ServerCredentials,
  type ServerWritableStream,
  type ServiceError,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { loadFileDescriptorSetFromBuffer } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation } from 'grpc-health-check';
import { messageOf, RetryableError, StartupError } from '../errors.ts';
import type { Telemetry } from '../telemetry.ts';
import { definitionOf, descriptorSetOf, maxMessageBytes } from './definition.ts';
import { codeOf, RpcError, retryAfterMetadata } from './status.ts';

/** What an RPC knows of its call. */
export interface CallContext {
  traceparent: string | undefined;
  /** Aborted when the caller is gone or the service drains. */
  signal: AbortSignal;
}

type Methods<S> = S extends GenService<infer M> ? M : never;

/** Handlers of a service by the generated method name: unary ones resolve, streaming ones yield. */
export type Routes<S extends GenService<GenServiceMethods>> = {
  [K in keyof Methods<S>]: Methods<S>[K]['methodKind'] extends 'server_streaming'
    ? (
        request: MessageShape<Methods<S>[K]['input']>,
        call: CallContext,
      ) => AsyncIterable<MessageInitShape<Methods<S>[K]['output']>>
    : (
        request: MessageShape<Methods<S>[K]['input']>,
        call: CallContext,
      ) => Promise<MessageInitShape<Methods<S>[K]['output']>>;
};

type AnyRoute = (request: unknown, call: CallContext) => unknown;

/** A gRPC service with its handlers. */
export interface RpcService {
  service: DescService;
  routes: Record<string, AnyRoute>;
}

/** Ties handlers to a generated service; every method needs one. */
export const rpcService = <S extends GenService<GenServiceMethods>>(service: S, routes: Routes<S>): RpcService => ({
  service: service as unknown as DescService,
  routes: routes as unknown as RpcService['routes'],
});

export interface RpcServerOptions {
  host: string;
  port: number;
  /** Bearer token that every call must carry; none asked for where absent. */
  token?: string | undefined;
  reflection: boolean;
  telemetry: Telemetry;
}

/** A gRPC server with health and, in development, reflection. */
export class RpcServer {
  readonly #server = new Server({
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
  });
  readonly #health = new HealthImplementation({ '': 'NOT_SERVING' });
  readonly #options: RpcServerOptions;
  readonly #draining = new AbortController();
  port = 0;

  constructor(options: RpcServerOptions, services: readonly RpcService[]) {
    this.#options = options;
    for (const entry of services) this.#server.addService(definitionOf(entry.service), this.#implementation(entry));
    this.#health.addToServer(this.#server);
    if (!options.reflection) return;
    const descriptors = descriptorSetOf(services.map(({ service }) => service));
    new ReflectionService(loadFileDescriptorSetFromBuffer(Buffer.from(descriptors))).addToServer(this.#server);
  }

  /** @throws StartupError when the address cannot be bound, or is open to others without a token */
  async listen(): Promise<void> {
    const { host, port, token } = this.#options;
    if (!token && !isLoopback(host)) {
      throw new StartupError(`GRPC_HOST ${host} is open to other machines: set RPC_TOKEN_FILE, or listen on 127.0.0.1`);
    }
    const address = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
    this.port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync(address, ServerCredentials.createInsecure(), (error, bound) => {
        if (!error) return resolve(bound);
        reject(
          new StartupError(`cannot listen on ${address} (GRPC_HOST, GRPC_PORT): ${error.message}`, { cause: error }),
        );
      });
    });
  }

  setServing(serving: boolean): void {
    this.#health.setStatus('', serving ? 'SERVING' : 'NOT_SERVING');
  }

  /** Lets calls under way finish; halfway through the grace their signals are aborted, at its end all is cut. */
  async stop(graceMs: number): Promise<void> {
    this.setServing(false);
    const abort = setTimeout(() => this.#draining.abort(), graceMs / 2);
    const force = setTimeout(() => this.#server.forceShutdown(), graceMs);
    await new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()));
    clearTimeout(abort);
    clearTimeout(force);
  }

  #implementation({ service, routes }: RpcService): UntypedServiceImplementation {
    const entries = service.methods.map((method) => {
      const route = routes[method.localName];
      if (!route) throw new Error(`${service.typeName} lacks a handler for ${method.name}`);
      return [
        method.name,
        method.methodKind === 'server_streaming' ? this.#streaming(method, route) : this.#unary(method, route),
      ];
    });
    return Object.fromEntries(entries);
  }

  #unary(method: DescMethod, route: AnyRoute): handleUnaryCall<unknown, unknown> {
    return async (call, callback) => {
      const gone = new AbortController();
      call.on('cancelled', () => gone.abort());
      try {
        this.#authorize(call.metadata);
        const result = await route(call.request, this.#context(call.metadata, gone.signal));
        callback(null, create(method.output, result as never));
      } catch (error) {
        callback(this.#failure(method, error));
      }
    };
  }

  #streaming(method: DescMethod, route: AnyRoute): handleServerStreamingCall<unknown, unknown> {
    return async (call) => {
      const gone = new AbortController();
      call.on('cancelled', () => gone.abort());
      try {
        this.#authorize(call.metadata);
        const items = route(call.request, this.#context(call.metadata, gone.signal)) as AsyncIterable<unknown>;
        for await (const item of items) {
          if (gone.signal.aborted) return;
          await write(call, create(method.output, item as never), gone.signal);
        }
        call.end();
      } catch (error) {
        if (!gone.signal.aborted) call.emit('error', this.#failure(method, error));
      }
    };
  }

  #context(metadata: Metadata, gone: AbortSignal): CallContext {
    const traceparent = metadata.get('traceparent')[0];
    return {
      traceparent: typeof traceparent === 'string' ? traceparent : undefined,
      signal: AbortSignal.any([gone, this.#draining.signal]),
    };
  }

  #authorize(metadata: Metadata): void {
    if (!this.#options.token) return;
    const given = Buffer.from(String(metadata.get('authorization')[0] ?? ''));
    const wanted = Buffer.from(`Bearer ${this.#options.token}`);
    if (given.length === wanted.length && timingSafeEqual(given, wanted)) return;
    throw new RpcError(status.UNAUTHENTICATED, 'this call needs the bearer token that RPC_TOKEN_FILE holds');
  }

  #failure(method: DescMethod, error: unknown): Partial<ServiceError> {
    const code = codeOf(error);
    if (code === status.INTERNAL) {
      const stack = error instanceof Error ? error.stack : undefined;
      this.#options.telemetry.log.error({ method: method.name, error: messageOf(error), stack }, 'rpc failed');
    }
    const failure: Partial<ServiceError> = { code, details: messageOf(error) };
    if (error instanceof RetryableError) failure.metadata = retryAfterMetadata(error.afterMs);
    return failure;
  }
}

/** Writes one item and waits while the caller reads too slowly. */
const write = async (
  call: ServerWritableStream<unknown, unknown>,
  item: unknown,
  signal: AbortSignal,
): Promise<void> => {
  if (!call.write(item)) await once(call, 'drain', { signal });
};

export const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || host.startsWith('127.');
