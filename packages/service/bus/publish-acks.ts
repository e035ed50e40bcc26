import { createInbox, type Msg, type MsgHdrs, type NatsConnection } from '@nats-io/transport-node';
import { z } from 'zod';

/** The server's answer to a publish that it did not store. */
export class PublishRefused extends Error {
  override name = 'PublishRefused';
}

const pubAck = z.union([
  z.object({ error: z.object({ description: z.string() }) }),
  z.object({ stream: z.string().min(1), seq: z.number() }),
]);

const sweepMs = 250;
const noResponders = 503;

interface Pending {
  resolve: () => void;
  reject: (error: Error) => void;
  deadlineMs: number;
}

/**
 * JetStream publishes whose acknowledgements share one inbox subscription. The client's own `publish` makes a request
 * with timer and error objects of its own for each message, and publishing is most of what some services do; DESIGN.md
 * has the figures.
 */
export class PublishAcks {
  readonly #nc: NatsConnection;
  readonly #inbox: string;
  readonly #pending = new Map<string, Pending>();
  readonly #timeoutMs: number;
  #next = 0;
  #sweeper: NodeJS.Timeout | undefined;

  constructor(nc: NatsConnection, name: string, timeoutMs: number) {
    this.#nc = nc;
    this.#timeoutMs = timeoutMs;
    this.#inbox = createInbox(`_INBOX.${name}`);
    nc.subscribe(`${this.#inbox}.*`, { callback: (_error, message) => this.#acknowledge(message) });
    void this.#watch();
  }

  /**
   * Resolves when the server has stored the message.
   * @throws PublishRefused when it says that it did not; Error when no answer came in time or the connection was lost
   */
  publish(subject: string, data: Uint8Array, headers: MsgHdrs): Promise<void> {
    return new Promise((resolve, reject) => {
      const token = String(this.#next++);
      this.#pending.set(token, { resolve, reject, deadlineMs: Date.now() + this.#timeoutMs });
      this.#sweeper ??= setInterval(() => this.#sweep(), sweepMs);
      try {
        this.#nc.publish(subject, data, { headers, reply: `${this.#inbox}.${token}` });
      } catch (error) {
        this.#settle(token)?.reject(error as Error);
      }
    });
  }

  #acknowledge(message: Msg): void {
    const pending = this.#settle(message.subject.slice(this.#inbox.length + 1));
    if (!pending) return;
    if (message.headers?.code === noResponders) {
      pending.reject(new Error('no stream takes this subject, or JetStream is not ready'));
      return;
    }
    const read = pubAck.safeParse(message.json());
    if (!read.success) pending.reject(new PublishRefused(`the server answered ${message.string().slice(0, 200)}`));
    else if ('error' in read.data) pending.reject(new PublishRefused(read.data.error.description));
    else pending.resolve();
  }

  #settle(token: string): Pending | undefined {
    const pending = this.#pending.get(token);
    this.#pending.delete(token);
    if (this.#pending.size === 0) {
      clearInterval(this.#sweeper);
      this.#sweeper = undefined;
    }
    return pending;
  }

  #sweep(): void {
    const now = Date.now();
    // The map keeps the order of publishing, and all wait equally long.
    for (const [token, { deadlineMs }] of this.#pending) {
      if (deadlineMs > now) return;
      this.#settle(token)?.reject(new Error(`no acknowledgement within ${this.#timeoutMs} ms`));
    }
  }

  /** An acknowledgement that was under way when the connection broke will not come. */
  async #watch(): Promise<void> {
    for await (const status of this.#nc.status()) {
      if (status.type !== 'disconnect') continue;
      for (const token of [...this.#pending.keys()])
        this.#settle(token)?.reject(new Error('the connection to the bus was lost'));
    }
  }
}
