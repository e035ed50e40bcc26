import { type JetStreamClient, type JetStreamManager, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { type KV, Kvm } from '@nats-io/kv';
import { connect, type NatsConnection, nkeyAuthenticator } from '@nats-io/transport-node';
import { type BucketName, type Naming, storeNameOf } from '@understudy/contract';
import { messageOf, StartupError } from '../errors.ts';
import type { Logger } from '../telemetry.ts';

/** A server that starts beside us needs a moment; one that is not there at all should be told of soon. */
const connectTimeoutMs = 20_000;
/** Afterwards a lost server is waited for, without end: the bus is the one thing nothing works without. */
const reconnectDelayMs = 250;
/** An answer of the server to a command. */
const requestTimeoutMs = 5_000;

export interface BusConnectionOptions {
  url: string;
  /** nkey seed; anonymous where absent. */
  seed?: string | undefined;
  /** Name shown by the server; also the owner of the inbox prefix `_INBOX.<name>`. */
  name: string;
  naming: Naming;
  log: Logger;
  /** Ends the attempts to connect. */
  signal?: AbortSignal;
}

/** One connection to NATS with the JetStream clients on it. */
export interface BusConnection {
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  readonly naming: Naming;
  /** Opens a bucket that provisioning made. */
  bucket(name: BucketName): Promise<KV>;
  close(): Promise<void>;
}

/**
 * Connects, or says why not.
 * @throws StartupError naming the URL when no server answers in time or it refuses us
 */
export const connectBus = async (options: BusConnectionOptions): Promise<BusConnection> => {
  const nc = await connectWithin(options, Date.now() + connectTimeoutMs);
  watch(nc, options.log);
  const watcherPrefix = `_INBOX.${options.name}`;
  const js = jetstream(nc, { timeout: requestTimeoutMs, watcherPrefix });
  const jsm = await jetstreamManager(nc, { timeout: requestTimeoutMs, checkAPI: false, watcherPrefix });
  const kvm = new Kvm(js);
  return {
    nc,
    js,
    jsm,
    naming: options.naming,
    bucket: (name) => kvm.open(storeNameOf(options.naming, name)),
    close: () => closeWithin(nc),
  };
};

/** What is still to be sent goes first; a server that is away is not waited for longer than this. */
const closeTimeoutMs = 5_000;

const closeWithin = async (nc: NatsConnection): Promise<void> => {
  if (nc.isClosed()) return;
  const timer = setTimeout(() => void nc.close(), closeTimeoutMs);
  try {
    await Promise.race([nc.drain(), nc.closed()]);
  } catch {
    await nc.close(); // the server is away, so that nothing can be sent any more
  } finally {
    clearTimeout(timer);
  }
};

const connectWithin = async (options: BusConnectionOptions, deadline: number): Promise<NatsConnection> => {
  const auth =
    options.seed === undefined ? {} : { authenticator: nkeyAuthenticator(new TextEncoder().encode(options.seed)) };
  for (;;) {
    try {
      return await connect({
        servers: options.url,
        name: options.name,
        inboxPrefix: `_INBOX.${options.name}`,
        timeout: requestTimeoutMs,
        maxReconnectAttempts: -1,
        reconnectTimeWait: reconnectDelayMs,
        ignoreAuthErrorAbort: true,
        // A stack for each request, kept in case it fails, costs a third of a busy service's time.
        noAsyncTraces: true,
        ...auth,
      });
    } catch (error) {
      if (isRefusal(error) || Date.now() >= deadline || options.signal?.aborted) {
        throw new StartupError(`cannot use NATS at ${options.url} (NATS_URL): ${messageOf(error)}`, { cause: error });
      }
      await new Promise((resolve) => setTimeout(resolve, reconnectDelayMs));
    }
  }
};

/** A server also ends a connection of a process so busy that it did not say in time who it is. */
const isRefusal = (error: unknown): boolean =>
  error instanceof Error &&
  /authori|authenticat|permission/i.test(error.message) &&
  !/authentication timeout/i.test(error.message);

const watch = (nc: NatsConnection, log: Logger) => {
  void (async () => {
    for await (const status of nc.status()) {
      if (status.type === 'disconnect' || status.type === 'reconnect' || status.type === 'error') {
        log[status.type === 'reconnect' ? 'info' : 'warn']({ status }, `bus: ${status.type}`);
      }
    }
  })();
};
