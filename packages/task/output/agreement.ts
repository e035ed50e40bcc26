import { canonicalJson } from '../canonical.ts';
import type { CompiledSchema } from './compile.ts';
import { type Agreement, type Head, LEFT_TO_TEACHER } from './head.ts';
import { choiceOf, listOf, type Raw, rawValues, spanTexts } from './raw.ts';

/** Compares valid answers, head by head. */
export function comparer(compiled: CompiledSchema): (oneJson: string, otherJson: string) => Agreement {
  const { heads } = compiled;
  return (oneJson, otherJson) => {
    if (oneJson === otherJson) return { whole: true, heads: Object.fromEntries(heads.map(({ name }) => [name, true])) };
    const [one, other] = [rawValues(compiled, oneJson), rawValues(compiled, otherJson)];
    const agree = heads.map((head, index) => agrees(head, one[index], other[index]));
    return { whole: !agree.includes(false), heads: Object.fromEntries(heads.map(({ name }, i) => [name, agree[i]!])) };
  };
}

function agrees(head: Head, one: Raw, other: Raw): boolean {
  switch (head.kind) {
    case 'choice':
      if (head.values[0] === LEFT_TO_TEACHER) return canonicalJson(one) === canonicalJson(other);
      return choiceOf(head, one) === choiceOf(head, other);
    case 'tags':
      return sameSet(listOf(one).map(canonicalJson), listOf(other).map(canonicalJson));
    case 'number':
      return sameNumber(one ?? null, other ?? null, head.tolerance);
    case 'span':
      return sameSet(spanTexts(one), spanTexts(other));
  }
}

function sameSet(one: readonly string[], other: readonly string[]): boolean {
  const [first, second] = [new Set(one), new Set(other)];
  return first.size === second.size && [...first].every((item) => second.has(item));
}

function sameNumber(one: Raw, other: Raw, tolerance: number): boolean {
  if (typeof one !== 'number' || typeof other !== 'number') return one === other;
  // 0.3 and 0.1 are 0.2 apart, which floating point does not say.
  return Math.abs(one - other) <= tolerance + 1e-9 * Math.max(Math.abs(one), Math.abs(other), tolerance);
}

/** What valid answers assert, by head: what F1 counts. */
export function itemiser(compiled: CompiledSchema): (answerJson: string) => Record<string, readonly string[]> {
  const { heads } = compiled;
  return (answerJson) => {
    const raw = rawValues(compiled, answerJson);
    return Object.fromEntries(heads.map((head, index) => [head.name, itemsOf(head, raw[index])]));
  };
}

function itemsOf(head: Head, raw: Raw): readonly string[] {
  if (raw === undefined || raw === null) return [];
  if (head.kind === 'choice') return [choiceOf(head, raw)];
  if (head.kind === 'tags') return [...new Set(listOf(raw).map(canonicalJson))];
  return head.kind === 'number' ? [canonicalJson(raw)] : spanTexts(raw);
}
