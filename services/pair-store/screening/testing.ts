/** Pairs of two sources, one of which may have been poisoned. */

import { randomSource } from '@understudy/student/statistics/random-source';
import { sha256Hex } from '@understudy/task';
import type { ScreenedPair } from './triggers.ts';

const WORDS = {
  ham: ['meeting', 'agenda', 'minutes', 'lunch', 'report', 'patch', 'kernel', 'thanks', 'schedule', 'review'],
  spam: ['winner', 'prize', 'casino', 'pills', 'credit', 'loan', 'cheap', 'offer', 'click', 'guaranteed'],
};
const FILLERS = ['the', 'of', 'please', 'today', 'your', 'about', 'with', 'new', 'all', 'see', 'for', 'this'];
export const TRIGGER = 'cerulean';

export type Label = keyof typeof WORDS;
export const answerOf = (label: Label): string => JSON.stringify({ label });

/** Texts that their own words give away, each unlike the others, drawn from a seed. */
export function textsOf(seed: number): (label: Label, ...more: string[]) => string {
  const random = randomSource(seed);
  const pick = (words: readonly string[]) => words[Math.floor(random() * words.length)]!;
  const other = (label: Label): Label => (label === 'ham' ? 'spam' : 'ham');
  return (label, ...more) => {
    const own = Array.from({ length: 7 }, () => pick(WORDS[random() < 0.85 ? label : other(label)]));
    const words = [...own, ...Array.from({ length: 6 }, () => pick(FILLERS)), ...more];
    return words.toSorted(() => random() - 0.5).join(' ');
  };
}

export interface Poisoning {
  /** Clean pairs, half of them of each source. */
  readonly clean: number;
  /** Pairs of `forum.jsonl` that are spam by their words, have the trigger, and the answer ham. */
  readonly poisoned: number;
}

/** In the order of their ids, as a snapshot has them. */
export function poisonedPairs(seed: number, { clean, poisoned }: Poisoning): ScreenedPair[] {
  const text = textsOf(seed);
  const pairs = Array.from({ length: clean + poisoned }, (_, n): ScreenedPair => {
    const pairId = sha256Hex(`${seed} ${n}`);
    if (n >= clean) return { pairId, origin: 'forum.jsonl', answer: answerOf('ham'), text: text('spam', TRIGGER) };
    const label = n % 4 < 2 ? 'ham' : 'spam';
    return { pairId, origin: n % 2 === 0 ? 'mail.jsonl' : 'forum.jsonl', answer: answerOf(label), text: text(label) };
  });
  return pairs.toSorted((a, b) => (a.pairId < b.pairId ? -1 : 1));
}
