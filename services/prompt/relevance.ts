import type { CompiledTask } from '@understudy/task';
import { foldText } from '@understudy/task/grouping/minhash';
import { RELEVANCE_CHARACTERS } from './limits.ts';

/** Lengths of the letter sequences that are compared. */
const GRAMS = [3, 4, 5];
/** Share of the task's own examples that may look less at home than the bar, each compared with the others. */
const EXAMPLES_BELOW = 0.01;
/** How far below those the bar lies, as a part of their distance from the median: examples are few, inputs many. */
const SLACK = 0.25;
/** The bar's largest part of the median: examples that are variants of each other say nothing about how far inputs may differ. */
const MAX_BAR_SHARE = 0.6;

/**
 * Tells what does not belong to a task: a text of whose letter sequences fewer occur in the task's examples than of almost any
 * example's sequences in the other examples. The answer says why; undefined for what belongs.
 */
export function relevanceTo({ task, renderPrompt }: CompiledTask): (text: string) => string | undefined {
  const examples = task.examples.map(({ input }) => gramsOf(renderPrompt(input).text));
  const holders = new Map<string, number>();
  for (const grams of examples) for (const gram of grams) holders.set(gram, (holders.get(gram) ?? 0) + 1);
  const bar = barOf(examples.map((grams) => shareKnown(grams, holders, 2)));
  return (text) => {
    const share = shareKnown(gramsOf(text), holders, 1);
    if (share >= bar) return undefined;
    return `reads unlike the task's examples: ${percent(share)} of its letter sequences occur in them, expected at least ${percent(bar)}`;
  };
}

/** @param needed how many examples must hold a sequence: 2 for an example itself, which holds all of its own */
function shareKnown(grams: ReadonlySet<string>, holders: ReadonlyMap<string, number>, needed: number): number {
  let known = 0;
  for (const gram of grams) if ((holders.get(gram) ?? 0) >= needed) known += 1;
  return grams.size === 0 ? 0 : known / grams.size;
}

function barOf(shares: readonly number[]): number {
  const sorted = shares.toSorted((a, b) => a - b);
  const low = sorted[Math.floor(EXAMPLES_BELOW * sorted.length)] ?? 0;
  const median = sorted[sorted.length >> 1] ?? 0;
  return Math.min(low - SLACK * (median - low), MAX_BAR_SHARE * median);
}

function gramsOf(text: string): Set<string> {
  const folded = ` ${foldText(text.slice(0, RELEVANCE_CHARACTERS))} `;
  const grams = new Set<string>();
  for (const length of GRAMS) {
    for (let end = length; end <= folded.length; end += 1) grams.add(folded.slice(end - length, end));
  }
  return grams;
}

const percent = (share: number): string => `${Math.round(100 * share)}%`;
