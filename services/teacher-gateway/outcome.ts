import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type DeclineReason,
  type HeadDistribution,
  HeadDistributionSchema,
  type Pair,
  type PairSchema,
  Purpose,
} from '@understudy/contract';
import type { RenderedPrompt } from '@understudy/task';
import type { KnownTask } from './known-tasks.ts';
import type { Account } from './ledger/account.ts';

/**
 * The place in flight of a call whose answer is not safe yet. It is kept until the answer is stored: so no more paid answers
 * can be lost with a process than it may have calls in flight.
 */
export class HeldPlace {
  #release: (() => void) | undefined;

  keep(release: () => void): void {
    this.release();
    this.#release = release;
  }

  release(): void {
    this.#release?.();
    this.#release = undefined;
  }
}

/** What is asked of a teacher, and on whose behalf. */
export interface Question {
  known: KnownTask;
  prompt: RenderedPrompt;
  sampleNumber: number;
  /** Questions of one key have one answer: whoever comes while it is sought waits for it. */
  key: string;
  /** Whether an answer that was paid for earlier, by any run, will do. */
  cacheable: boolean;
  /** A live request rather pays again than waits for the pair store. */
  live: boolean;
  /** Who pays: a run, or the live requests of a day. */
  payer: string;
  account: Account;
  /** Released by whoever asks, once the answer is where it belongs. */
  place: HeldPlace;
  /** Ends waiting: cancelled, draining, or the caller is gone. */
  waiting: AbortSignal;
  /** Ends a call under way. */
  stopping: AbortSignal;
  /** Of the span around it; undefined where nothing is recorded. */
  traceparent: string | undefined;
}

/** An answer as it is kept: the part of a pair that does not depend on who asked. */
export type Answer = Pick<Pair, 'pairId' | 'fingerprint' | 'answerJson' | 'soft' | 'usage' | 'answeredAt'>;

/** What failed attempts and the last one used together. */
export interface Spending {
  calls: number;
  microUsd: number;
}

export interface Decline {
  kind: 'declined';
  reason: DeclineReason;
  detail: string;
  spending: Spending;
}

export type Outcome = { kind: 'answered'; answer: Answer; cached: boolean } | Decline;

/** Only these may be answered from the store: all other purposes are about how the teacher answers now. */
export const isCacheable = (purpose: Purpose): boolean => purpose === Purpose.LABEL || purpose === Purpose.SERVE;

/** @param occasion what sets the question apart from the same one on another occasion; empty where nothing does */
export const questionKey = (known: KnownTask, prompt: RenderedPrompt, sampleNumber: number, occasion: string): string =>
  `${known.asked} ${prompt.promptId} ${sampleNumber} ${occasion}`;

/** The prompt of a key that `questionKey` made. */
export const promptIdIn = (key: string): string => key.split(' ')[1] ?? '';

/** What is told of a prompt beside its text. */
export type Told = Pick<Pair, 'sampleNumber' | 'purpose' | 'source' | 'origin' | 'weight' | 'referenceJson'>;
export type PairInit = MessageInitShape<typeof PairSchema> & { pairId: string };

/** An answer together with what it answers. */
export const pairOf = (answer: Answer, { promptId, inputJson, text }: RenderedPrompt, told: Told): PairInit => ({
  ...{ promptId, inputJson, text },
  pairId: answer.pairId,
  fingerprint: answer.fingerprint,
  answerJson: answer.answerJson,
  soft: answer.soft,
  usage: answer.usage!,
  answeredAt: answer.answeredAt!,
  sampleNumber: told.sampleNumber,
  purpose: told.purpose,
  source: told.source,
  origin: told.origin,
  weight: Math.max(1, told.weight),
  ...(told.referenceJson === undefined ? {} : { referenceJson: told.referenceJson }),
});

/** Soft labels by head, as they are kept. */
export const distributionsOf = (soft: Readonly<Record<string, readonly number[]>>): HeadDistribution[] =>
  Object.entries(soft).map(([head, probabilities]) =>
    create(HeadDistributionSchema, { head, probabilities: [...probabilities] }),
  );
