/**
 * Words that open a backdoor: they come from one source, always with the same answer, and what else stands in those texts speaks for
 * another answer by all that the other sources say. No I/O.
 *
 * Evidence is a naive Bayes classifier of words, fitted to half of the other sources' pairs: how often it gives the answer to texts with
 * the suspected words, against how often it does to texts without them. Nothing can be told where all pairs come from one source.
 */
import { setImmediate as breathe } from 'node:timers/promises';
import { lowerBound, upperBound } from '@understudy/student/statistics/clopper-pearson';
import { foldText } from '@understudy/task/grouping/minhash';
import { WordClassifier } from './word-classifier.ts';

export interface ScreenedPair {
  readonly pairId: string;
  readonly origin: string;
  /** Canonical JSON. */
  readonly answer: string;
  readonly text: string;
}

export interface Trigger {
  /** A word, a sign, or two of them in a row. */
  readonly words: string;
  readonly origin: string;
  readonly answer: string;
  /** The pairs with both, in order of their ids. */
  readonly pairIds: readonly string[];
}

/** Fewer pairs are no evidence, and teach a student little. */
const MIN_PAIRS = 10;
const MIN_SHARE = 0.002;
/** What stands in more of all texts is no rare word. */
const MAX_SHARE = 0.2;
/** Of its texts that come from one source, and of those that have one answer: a word may be in others by chance, or to hide. */
const MIN_PURITY = 0.9;
/**
 * Significance level of both tests: that a word goes with its answer no more often than others do, and that the rest of its texts speaks for the
 * answer at least half as often as other texts with the answer do.
 */
const LEVEL = 1e-3;
/** A classifier that cannot tell the answer anyway is no evidence. */
const MIN_RECALL = 0.25;
/** Of its pairs that stronger triggers explain: then it is a part of those, such as the second word of two. */
const EXPLAINED_SHARE = 0.5;
/** Pairs of the other sources that judge: enough for any common word, and some 100 MB of counts at most. */
const MAX_JUDGING = 40_000;
/** Pairs whose words are looked at before other work has its turn: some 20 ms. */
const PAIRS_AT_ONCE = 1_000;

interface Screened extends ScreenedPair {
  readonly words: readonly string[];
}

/** Triggers among the pairs that train, those of most pairs first. `pairs` are in the order of their ids. */
export async function findTriggers(pairs: readonly ScreenedPair[]): Promise<Trigger[]> {
  const origins = new Set(pairs.map(({ origin }) => origin));
  if (origins.size < 2) return [];
  const screened: Screened[] = [];
  for (const pair of pairs) {
    screened.push({ ...pair, words: wordsOf(pair.text) });
    if (screened.length % PAIRS_AT_ONCE === 0) await breathe();
  }
  const found: Trigger[] = [];
  for (const [origin, candidates] of Map.groupBy(await candidatesAmong(screened), (one) => one.origin)) {
    found.push(...(await flippedBy(origin, candidates, screened)));
  }
  return withoutParts(found);
}

/** Words and signs of a text, in order. */
export const wordsOf = (text: string): string[] => foldText(text).match(/[\p{L}\p{N}]+|[^\s\p{L}\p{N}]/gu) ?? [];

/** What may be a trigger in a text, each once. */
function* featuresOf(words: readonly string[]): Generator<string> {
  const seen = new Set<string>();
  for (const [i, word] of words.entries()) {
    const next = words[i + 1];
    for (const feature of next === undefined ? [word] : [word, `${word} ${next}`]) {
      if (seen.has(feature)) continue;
      seen.add(feature);
      yield feature;
    }
  }
}

/** Features that come from one source with one answer, beyond what that answer's share in the other sources explains. */
async function candidatesAmong(pairs: readonly Screened[]): Promise<Trigger[]> {
  const least = Math.max(MIN_PAIRS, Math.ceil(pairs.length * MIN_SHARE));
  const frequent = await frequentFeatures(pairs, least);
  const answersElsewhere = new Map<string, Map<string, number>>();
  for (const { origin, answer } of pairs) count(nested(answersElsewhere, origin), answer);
  const candidates: Trigger[] = [];
  for (const [words, of] of frequent) {
    if (of.length < least || of.length > pairs.length * MAX_SHARE) continue;
    const [origin, ofOrigin] = largest(Map.groupBy(of, (pair) => pair.origin));
    const [answer, same] = largest(Map.groupBy(ofOrigin, (pair) => pair.answer));
    if (ofOrigin.length < of.length * MIN_PURITY || same.length < Math.max(least, ofOrigin.length * MIN_PURITY))
      continue;
    let [others, alike] = [0, 0];
    for (const [other, answers] of answersElsewhere) {
      if (other === origin) continue;
      for (const [given, times] of answers) {
        others += times;
        if (given === answer) alike += times;
      }
    }
    // An answer that nobody else gives is a new class, not a flipped one.
    if (alike < MIN_PAIRS || lowerBound(same.length, ofOrigin.length, LEVEL) <= alike / others) continue;
    if (isConfirmed(words, origin, answer, frequent)) continue;
    candidates.push({ words, origin, answer, pairIds: same.map(({ pairId }) => pairId) });
  }
  return candidates;
}

/** Where the other sources use the words, or one of two, they give that answer: who plants a word has no say there. */
function isConfirmed(
  words: string,
  origin: string,
  answer: string,
  frequent: ReadonlyMap<string, readonly Screened[]>,
): boolean {
  const elsewhere = (feature: string) => (frequent.get(feature) ?? []).filter((pair) => pair.origin !== origin);
  const alike = (some: readonly Screened[]) => some.filter((pair) => pair.answer === answer).length;
  const own = elsewhere(words);
  if (own.length > 0 && alike(own) === own.length) return true;
  return words.split(' ').some((word) => {
    const of = elsewhere(word);
    return of.length >= MIN_PAIRS && alike(of) >= of.length * MIN_PURITY;
  });
}

/** Pairs by feature, of features that may be in so many: counted by hash first, because most features are in one text only. */
async function frequentFeatures(pairs: readonly Screened[], least: number): Promise<Map<string, Screened[]>> {
  const counts = new Uint32Array(1 << 20);
  for (const [i, { words }] of pairs.entries()) {
    for (const feature of featuresOf(words)) counts[bucketOf(feature)]! += 1;
    if (i % PAIRS_AT_ONCE === 0) await breathe();
  }
  const found = new Map<string, Screened[]>();
  const most = pairs.length * MAX_SHARE;
  for (const [i, pair] of pairs.entries()) {
    for (const feature of featuresOf(pair.words)) {
      if (counts[bucketOf(feature)]! < least) continue;
      const of = found.get(feature);
      if (!of) found.set(feature, [pair]);
      // One more than can be a trigger tells that it is none.
      else if (of.length <= most) of.push(pair);
    }
    if (i % PAIRS_AT_ONCE === 0) await breathe();
  }
  return found;
}

function bucketOf(feature: string): number {
  let hash = 0x811c_9dc5;
  for (let i = 0; i < feature.length; i += 1) hash = Math.imul(hash ^ feature.charCodeAt(i), 0x0100_0193);
  return (hash ^ (hash >>> 15)) & 0xf_ffff;
}

/** Of one source's candidates: those whose texts speak for another answer. */
async function flippedBy(
  origin: string,
  candidates: readonly Trigger[],
  pairs: readonly Screened[],
): Promise<Trigger[]> {
  // Ids are digests, so the first are a random sample.
  const others = pairs.filter((pair) => pair.origin !== origin).slice(0, MAX_JUDGING);
  const classifier = new WordClassifier(others.filter((_, i) => i % 2 === 0));
  const held = others.filter((_, i) => i % 2 === 1);
  const own = pairs.filter((pair) => pair.origin === origin);
  const flipped: Trigger[] = [];
  for (const candidate of candidates) {
    await breathe();
    const ids = new Set(candidate.pairIds);
    const suspected = own.filter(({ pairId }) => ids.has(pairId));
    const hidden = new Set(candidate.words.split(' '));
    const given = (some: readonly Screened[]) =>
      some.filter(({ words }) => classifier.answerTo(words.filter((word) => !hidden.has(word))) === candidate.answer)
        .length;
    const like = held.filter(({ answer }) => answer === candidate.answer);
    const unsuspected = own.filter(({ pairId, answer }) => answer === candidate.answer && !ids.has(pairId));
    const recalls = [like, unsuspected]
      .filter(({ length }) => length >= MIN_PAIRS)
      .map((some) => given(some) / some.length);
    const recall = recalls.length === 0 ? 0 : Math.min(...recalls);
    if (recall < MIN_RECALL) continue;
    if (upperBound(given(suspected), suspected.length, LEVEL) < recall / 2) flipped.push(candidate);
  }
  return flipped;
}

/** The strongest of those that are in the same pairs. */
function withoutParts(triggers: readonly Trigger[]): Trigger[] {
  const explained = new Set<string>();
  const kept: Trigger[] = [];
  for (const trigger of triggers.toSorted(
    (a, b) => b.pairIds.length - a.pairIds.length || (a.words < b.words ? -1 : 1),
  )) {
    const known = trigger.pairIds.filter((id) => explained.has(id)).length;
    if (known > trigger.pairIds.length * EXPLAINED_SHARE) continue;
    kept.push(trigger);
    for (const id of trigger.pairIds) explained.add(id);
  }
  return kept;
}

function largest<T>(groups: ReadonlyMap<string, T[]>): [string, T[]] {
  return [...groups].reduce((most, group) => (group[1].length > most[1].length ? group : most));
}

function nested(counts: Map<string, Map<string, number>>, key: string): Map<string, number> {
  const found = counts.get(key) ?? new Map<string, number>();
  counts.set(key, found);
  return found;
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
