import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { type Pair, UsageSchema } from '@understudy/contract';
import { messageOf, RetryableError } from '@understudy/service/errors';
import { pairId } from '@understudy/task';
import { askTeacher } from './ask-teacher.ts';
import type { GatewayContext } from './context.ts';
import {
  LIVE_LOOKUP_TIMEOUT_MS,
  LOOKUP_LATER_MS,
  LOOKUP_PATIENCE_MS,
  LOOKUP_RETRY_MS,
  MAX_RECENT_OUTCOMES,
  RECENT_OUTCOME_MS,
} from './limits.ts';
import { type Answer, type Outcome, promptIdIn, type Question } from './outcome.ts';
import type { PairLookup } from './pair-lookup.ts';
import type { Peers } from './peers.ts';
import { RunCancelled } from './run-scopes.ts';

/** Waits before another look. Ends early when the run was cancelled, which asking then finds out; rejects when this replica drains. */
const pause = async (waiting: AbortSignal): Promise<void> => {
  await delay(LOOKUP_RETRY_MS, undefined, { signal: waiting }).catch(() => {});
  if (waiting.aborted && !(waiting.reason instanceof RunCancelled)) throw waiting.reason;
};

/**
 * Finds an answer or gets one from the teacher, never twice for the same question: not while it is sought here or by another replica,
 * not while the pair store has yet to record it, and not once it is there.
 */
export class Answers {
  readonly #context: GatewayContext;
  readonly #lookup: PairLookup;
  readonly #peers: Peers;
  readonly #seeking = new Map<string, { payer: string; outcome: Promise<Outcome> }>();
  readonly #recent = new Map<string, { payer: string; outcome: Outcome; untilMs: number }>();

  constructor(context: GatewayContext, lookup: PairLookup, peers: Peers) {
    this.#context = context;
    this.#lookup = lookup;
    this.#peers = peers;
  }

  /** Rejects with RetryableError when it is better to try later, here or elsewhere. */
  async get(question: Question): Promise<Outcome> {
    const { key, payer } = question;
    for (let other = this.#other(key); other; other = this.#other(key)) {
      const outcome = await Promise.resolve(other.outcome).catch(() => undefined);
      // What this payer paid for is its own answer, told once more.
      if (outcome?.kind === 'answered') return { ...outcome, cached: outcome.cached || other.payer !== payer };
      // Another payer may have better luck: a decline can be due to its budget, a failure to its being cancelled.
      if (outcome && other.payer === payer) return outcome;
    }
    const outcome = this.#seek(question);
    this.#seeking.set(key, { payer, outcome });
    try {
      return this.#remember(question, await outcome);
    } finally {
      this.#seeking.delete(key);
    }
  }

  /** Drops the outcomes of some prompts that are still in memory. @returns how many there were */
  forget(promptIds: ReadonlySet<string>): number {
    const keys = [...this.#recent.keys()].filter((key) => promptIds.has(promptIdIn(key)));
    for (const key of keys) this.#recent.delete(key);
    return keys.length;
  }

  /** An outcome of the same question, had not long ago or sought right now. */
  #other(key: string): { payer: string; outcome: Outcome | Promise<Outcome> } | undefined {
    const recent = this.#recent.get(key);
    return recent && recent.untilMs > performance.now() ? recent : this.#seeking.get(key);
  }

  async #seek(question: Question): Promise<Outcome> {
    if (!question.cacheable) return askTeacher(this.#context, question);
    for (;;) {
      const outcome = await this.#seekOnce(question);
      if (outcome) return outcome;
      // Soon the other's answer is stored, or its claim is over.
      await pause(question.waiting);
    }
  }

  /** Undefined while another replica asks; a live request waits for nobody. */
  async #seekOnce(question: Question): Promise<Outcome | undefined> {
    const { key, live, waiting } = question;
    let outcome: Outcome | undefined;
    try {
      const mine = live ? this.#peers.announce(key) : await this.#peers.claim(key);
      // After the claim, so that what others answered before it is found.
      const found = await this.#find(question);
      if (found) outcome = { kind: 'answered', answer: found, cached: true };
      else if (mine || waiting.aborted) outcome = await askTeacher(this.#context, question);
      return outcome;
    } finally {
      this.#peers.release(key, outcome?.kind === 'answered');
    }
  }

  async #find(question: Question): Promise<Answer | undefined> {
    const { known, prompt, sampleNumber } = question;
    const fingerprint = await known.fingerprint();
    if (fingerprint === undefined) return undefined;
    const id = pairId(prompt.promptId, fingerprint, sampleNumber);
    const name = known.compiled.task.name;
    const pair = question.live ? await this.#findSoon(name, id) : await this.#findPatiently(name, id, question.waiting);
    return pair && { ...pair, usage: pair.usage ?? create(UsageSchema) };
  }

  /** Nothing is paid while nobody knows whether it was paid already. */
  async #findPatiently(task: string, id: string, waiting: AbortSignal): Promise<Pair | undefined> {
    const until = performance.now() + LOOKUP_PATIENCE_MS;
    for (;;) {
      try {
        return await this.#lookup.find(task, id, false);
      } catch (error) {
        if (performance.now() >= until) {
          throw new RetryableError('the pair store is away', { afterMs: LOOKUP_LATER_MS, cause: error });
        }
        this.#context.telemetry.log.debug({ error: messageOf(error) }, 'the pair store is away, looking again');
        await pause(waiting);
        if (waiting.aborted) return undefined;
      }
    }
  }

  async #findSoon(task: string, id: string): Promise<Pair | undefined> {
    const tooLate = new AbortController();
    try {
      return await Promise.race([
        this.#lookup.find(task, id, true),
        delay(LIVE_LOOKUP_TIMEOUT_MS, undefined, { signal: tooLate.signal }),
      ]);
    } catch (error) {
      this.#context.telemetry.log.debug({ error: messageOf(error) }, 'the pair store is away, asking the teacher');
      return undefined;
    } finally {
      tooLate.abort();
    }
  }

  #remember({ key, payer }: Question, outcome: Outcome): Outcome {
    if (outcome.kind !== 'answered') return outcome;
    this.#recent.delete(key);
    this.#recent.set(key, { payer, outcome, untilMs: performance.now() + RECENT_OUTCOME_MS });
    if (this.#recent.size > MAX_RECENT_OUTCOMES) this.#recent.delete(this.#recent.keys().next().value!);
    return outcome;
  }
}
