import { randomUUID } from 'node:crypto';
import type { Subscription } from '@nats-io/transport-node';
import { peersSubject } from '@understudy/contract';
import type { BusConnection } from '@understudy/service/bus/connection';
import { CLAIM_MS, CLAIM_RENEWAL_MS, CLAIMS_WAIT_MS, MAX_CLAIMS_PER_MESSAGE } from './limits.ts';

interface Claim {
  /** Replica that asks. */
  by: string;
  untilMs: number;
}

/** In place of questions: the replica stops, and asks none of them any more. */
const farewell = '';

/**
 * Which questions other replicas are asking just now. Whoever is about to ask says so to the others, and who hears of it in time
 * waits for the answer to be stored. Where two claim at once, the one of the lower id asks. A claim is a courtesy that saves
 * money, not a lock: one that gets lost costs a repeated call, and one whose holder died ends by itself.
 */
export class Peers implements AsyncDisposable {
  readonly #bus: BusConnection;
  readonly #subject: string;
  readonly #id: string;
  readonly #subscription: Subscription;
  /** Of others, oldest first. */
  readonly #claims = new Map<string, Claim>();
  /** Asked here. */
  readonly #own = new Set<string>();
  #untold: string[] = [];
  #teller: NodeJS.Timeout | undefined;
  #toldMs = Number.NEGATIVE_INFINITY;
  readonly #renewal: NodeJS.Timeout;

  /** @param id of this replica, unlike any other's */
  constructor(bus: BusConnection, id: string = randomUUID()) {
    this.#bus = bus;
    this.#id = id;
    this.#subject = peersSubject(bus.naming, 'teacher-gateway');
    this.#subscription = bus.nc.subscribe(`${this.#subject}.*`, {
      callback: (_error, message) =>
        this.#hear(message.subject.slice(this.#subject.length + 1), message.string().split('\n')),
    });
    this.#renewal = setInterval(() => this.#renew(), CLAIM_RENEWAL_MS);
  }

  /** Tells the others that the question is asked here; not while one of them asks it. */
  claim(question: string): void {
    if (this.#askedByOther(question)) return;
    this.#own.add(question);
    this.#tell(question);
  }

  /** The question is asked here no more: answered, given up, or left to another. */
  release(question: string): void {
    this.#own.delete(question);
  }

  /** Whether another replica is to ask this question. */
  askElsewhere(question: string): boolean {
    const other = this.#askedByOther(question);
    return other !== undefined && !(this.#own.has(question) && this.#id < other.by);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#renewal);
    clearTimeout(this.#teller);
    this.#subscription.unsubscribe();
    if (!this.#bus.nc.isClosed()) this.#bus.nc.publish(`${this.#subject}.${this.#id}`, farewell);
  }

  #askedByOther(question: string): Claim | undefined {
    const claim = this.#claims.get(question);
    return claim && claim.untilMs > performance.now() ? claim : undefined;
  }

  #tell(question: string): void {
    this.#untold.push(question);
    this.#teller ??= setTimeout(() => this.#publish(), Math.max(0, this.#toldMs + CLAIMS_WAIT_MS - performance.now()));
  }

  #publish(): void {
    this.#teller = undefined;
    this.#toldMs = performance.now();
    while (this.#untold.length > 0 && !this.#bus.nc.isClosed()) {
      const questions = this.#untold.splice(0, MAX_CLAIMS_PER_MESSAGE);
      this.#bus.nc.publish(`${this.#subject}.${this.#id}`, questions.join('\n'));
    }
  }

  #renew(): void {
    for (const question of this.#own) this.#tell(question);
  }

  #hear(by: string, questions: string[]): void {
    if (by === this.#id) return;
    if (questions[0] === farewell) {
      this.#forget(by);
      return;
    }
    const now = performance.now();
    for (const question of questions) {
      // Where three claim at once, all must yield to the same one.
      const earlier = this.#claims.get(question);
      if (earlier && earlier.untilMs > now && earlier.by < by) continue;
      this.#claims.delete(question);
      this.#claims.set(question, { by, untilMs: now + CLAIM_MS });
    }
    for (const [question, { untilMs }] of this.#claims) {
      if (untilMs > now) break;
      this.#claims.delete(question);
    }
  }

  #forget(gone: string): void {
    for (const [question, { by }] of this.#claims) if (by === gone) this.#claims.delete(question);
  }
}
