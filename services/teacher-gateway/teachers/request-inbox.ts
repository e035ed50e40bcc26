import { createInbox, type Msg, type NatsConnection } from '@nats-io/transport-node';

/** Nobody listens on the subject. */
export class NoResponders extends Error {
  override name = 'NoResponders';
}

/** The connection was lost while an answer was awaited. */
export class Disconnected extends Error {
  override name = 'Disconnected';
}

interface Pending {
  owner: object;
  resolve: (reply: Msg) => void;
  reject: (reason: unknown) => void;
}

const noResponders = 503;

/**
 * Requests whose replies share one inbox subscription, ended by a signal: the client's own `request` makes a timer, an error
 * with its stack and several promises for each.
 */
export class RequestInbox {
  readonly #nc: NatsConnection;
  readonly #inbox: string;
  readonly #pending = new Map<string, Pending>();
  #next = 0;

  /** Lives as long as the connection. @param prefix that it may subscribe below */
  constructor(nc: NatsConnection, prefix: string) {
    this.#nc = nc;
    this.#inbox = createInbox(prefix);
    nc.subscribe(`${this.#inbox}.*`, { callback: (_error, reply) => this.#receive(reply) });
    void this.#watch();
  }

  /**
   * Rejects with NoResponders, Disconnected, the signal's reason, or that of `giveUp`.
   * @param owner on whose behalf; see `giveUp`
   */
  request(owner: object, subject: string, data: string, signal: AbortSignal): Promise<Msg> {
    return new Promise((resolve, reject) => {
      const token = String(this.#next++);
      const abort = () => this.#take(token)?.reject(signal.reason);
      const settled = () => signal.removeEventListener('abort', abort);
      signal.addEventListener('abort', abort, { once: true });
      this.#pending.set(token, {
        owner,
        resolve: (reply) => {
          settled();
          resolve(reply);
        },
        reject: (reason) => {
          settled();
          reject(reason);
        },
      });
      try {
        this.#nc.publish(subject, data, { reply: `${this.#inbox}.${token}` });
      } catch (error) {
        this.#take(token)?.reject(error);
      }
    });
  }

  /** Waits no longer for the replies to an owner's requests. */
  giveUp(owner: object, reason: Error): void {
    for (const [token, pending] of this.#pending) if (pending.owner === owner) this.#take(token)?.reject(reason);
  }

  #receive(reply: Msg): void {
    const pending = this.#take(reply.subject.slice(this.#inbox.length + 1));
    if (reply.headers?.code === noResponders) pending?.reject(new NoResponders('no responders'));
    else pending?.resolve(reply);
  }

  #take(token: string): Pending | undefined {
    const pending = this.#pending.get(token);
    this.#pending.delete(token);
    return pending;
  }

  /** A reply that was under way when the connection broke will not come. */
  async #watch(): Promise<void> {
    for await (const { type } of this.#nc.status()) {
      if (type !== 'disconnect') continue;
      const lost = new Disconnected('the connection to the bus was lost');
      for (const token of [...this.#pending.keys()]) this.#take(token)?.reject(lost);
    }
  }
}
