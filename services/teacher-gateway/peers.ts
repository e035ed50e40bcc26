import { randomUUID } from 'node:crypto';
import type { JsMsg } from '@nats-io/jetstream';
import { claimsSubject } from '@understudy/contract';
import { type Hearing, listen } from '@understudy/service/bus/broadcast';
import type { BusConnection } from '@understudy/service/bus/connection';
import { RetryableError } from '@understudy/service/errors';
import type { Telemetry } from '@understudy/service/telemetry';
import {
  CLAIM_MS,
  CLAIM_PATIENCE_MS,
  CLAIM_RENEWAL_MS,
  CLAIMS_LATER_MS,
  CLAIMS_WAIT_MS,
  MAX_CLAIMS_PER_MESSAGE,
} from './limits.ts';

interface Claim {
  /** Replica that asks. */
  by: string;
  untilMs: number;
}

/** Somebody here waits for a claim to have its place. */
interface Waiting {
  /** Number of the message that it went out with; undefined before. */
  message: number | undefined;
  sinceMs: number;
  resolve: (mine: boolean) => void;
  reject: (reason: unknown) => void;
}

/** Before a question that is asked no more, and of which no answer is stored. */
const dropped = '-';
/** In place of questions: the replica stops, and asks none of them any more. */
const farewell = '';

/**
 * Which questions replicas are asking just now. Whoever is about to ask claims the question first, in a stream that all replicas
 * hear in the same order: the first claim counts, and a replica asks only once it has heard its own. So of any that are alive
 * one asks, however slow they are. A claim that is not renewed ends by itself, because its holder may have died.
 */
export class Peers implements AsyncDisposable {
  readonly #bus: BusConnection;
  readonly #subject: string;
  readonly #id: string;
  readonly #hearing: Hearing;
  /** Those that count, of this replica and others, oldest first. */
  readonly #claims = new Map<string, Claim>();
  /** Claimed here, and not let go of. */
  readonly #own = new Set<string>();
  readonly #waiting = new Map<string, Waiting>();
  #untold: string[] = [];
  #messages = 0;
  #teller: NodeJS.Timeout | undefined;
  #toldMs = Number.NEGATIVE_INFINITY;
  readonly #renewal: NodeJS.Timeout;

  /** @param id of this replica, unlike any other's */
  constructor(bus: BusConnection, telemetry: Pick<Telemetry, 'log'>, id: string = randomUUID()) {
    this.#bus = bus;
    this.#id = id;
    this.#subject = claimsSubject(bus.naming);
    const all = { stream: 'CLAIMS', subject: `${this.#subject}.*`, what: 'claims' } as const;
    this.#hearing = listen(bus, telemetry, all, (message) => this.#hear(message));
    this.#renewal = setInterval(() => this.#renew(), CLAIM_RENEWAL_MS);
  }

  /** Resolves when the claims of others are known. */
  async start(): Promise<void> {
    await this.#hearing.caughtUp;
  }

  /**
   * Claims a question, of which no other claim of this replica is under way; resolves with whether it is to be asked here.
   * @throws RetryableError when the bus does not tell
   */
  claim(question: string): Promise<boolean> {
    this.#own.add(question);
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    this.#waiting.set(question, { message: undefined, sinceMs: performance.now(), resolve, reject });
    this.#tell(question);
    return promise;
  }

  /** Tells that a question is asked here, whoever else does. */
  announce(question: string): true {
    this.#own.add(question);
    this.#tell(question);
    return true;
  }

  /** The question is asked here no more. Others go on waiting for its answer where it has one, which soon is stored. */
  release(question: string, isAnswered: boolean): void {
    this.#own.delete(question);
    this.#waiting.delete(question);
    if (!isAnswered) this.#tell(`${dropped}${question}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#renewal);
    clearTimeout(this.#teller);
    await this.#hearing();
    if (!this.#bus.nc.isClosed()) this.#bus.nc.publish(`${this.#subject}.${this.#id}`, farewell);
  }

  #tell(line: string): void {
    this.#untold.push(line);
    this.#teller ??= setTimeout(() => this.#publish(), Math.max(0, this.#toldMs + CLAIMS_WAIT_MS - performance.now()));
  }

  /** What the stream does not take is told again with the next renewal. */
  #publish(): void {
    this.#teller = undefined;
    this.#toldMs = performance.now();
    while (this.#untold.length > 0 && !this.#bus.nc.isClosed()) {
      const lines = this.#untold.splice(0, MAX_CLAIMS_PER_MESSAGE);
      const message = ++this.#messages;
      for (const line of lines) {
        const waiting = this.#waiting.get(line);
        if (waiting) waiting.message ??= message;
      }
      this.#bus.nc.publish(`${this.#subject}.${this.#id}`, [message, ...lines].join('\n'));
    }
  }

  #renew(): void {
    const now = performance.now();
    for (const [question, { sinceMs, reject }] of this.#waiting) {
      if (now - sinceMs < CLAIM_PATIENCE_MS) continue;
      this.#waiting.delete(question);
      reject(new RetryableError('the bus does not tell who asks a question', { afterMs: CLAIMS_LATER_MS }));
    }
    for (const question of this.#own) this.#tell(question);
  }

  #hear(message: JsMsg): void {
    const by = message.subject.slice(this.#subject.length + 1);
    const text = message.string();
    if (text === farewell) {
      this.#forget(by);
      return;
    }
    const [number, ...lines] = text.split('\n');
    const now = performance.now();
    for (const line of lines) {
      if (line.startsWith(dropped)) this.#drop(line.slice(dropped.length), by);
      else this.#count(line, by, now);
      if (by === this.#id) this.#heardOwn(line, Number(number));
    }
    for (const [question, { untilMs }] of this.#claims) {
      if (untilMs > now) break;
      this.#claims.delete(question);
    }
  }

  #count(question: string, by: string, now: number): void {
    const earlier = this.#claims.get(question);
    if (earlier && earlier.untilMs > now && earlier.by !== by) return;
    this.#claims.delete(question);
    this.#claims.set(question, { by, untilMs: now + CLAIM_MS });
  }

  #drop(question: string, by: string): void {
    if (this.#claims.get(question)?.by === by) this.#claims.delete(question);
  }

  /** An earlier claim of the same question, which was let go of meanwhile, is not the one that is waited for. */
  #heardOwn(question: string, message: number): void {
    const waiting = this.#waiting.get(question);
    if (waiting?.message === undefined || message < waiting.message) return;
    this.#waiting.delete(question);
    waiting.resolve(this.#claims.get(question)?.by === this.#id);
  }

  #forget(gone: string): void {
    for (const [question, { by }] of this.#claims) if (by === gone) this.#claims.delete(question);
  }
}
