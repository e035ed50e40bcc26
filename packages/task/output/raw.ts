import { canonicalJson, type Json } from '../canonical.ts';
import type { CompiledSchema, Node } from './compile.ts';
import { type ChoiceHead, LEFT_OUT, LEFT_TO_TEACHER, PRESENT } from './head.ts';

/** What an answer has where a head stands; undefined where that is left out, or an object around it is absent. */
export type Raw = Json | undefined;

/** An answer's values in the order of the heads. The answer must be valid. */
export function rawValues({ root, heads }: CompiledSchema, answerJson: string): Raw[] {
  const values = new Array<Raw>(heads.length).fill(undefined);
  collect(root, JSON.parse(answerJson) as Json, values);
  return values;
}

function collect(node: Node, value: Raw, into: Raw[]): void {
  if (node.kind === 'leaf') into[node.head] = value;
  if (node.kind !== 'object') return;
  if (node.presence !== undefined) into[node.presence] = value;
  if (value === null || value === undefined) return;
  const object = value as { [key: string]: Json };
  for (const field of node.fields) {
    if (Object.hasOwn(object, field.key)) collect(field.node, object[field.key], into);
  }
}

/** Which of a choice's values a raw value is. */
export function choiceOf({ values }: ChoiceHead, raw: Raw): string {
  if (raw === undefined) return LEFT_OUT;
  if (raw === null) return 'null';
  if (values[0] === PRESENT || values[0] === LEFT_TO_TEACHER) return values[0];
  return canonicalJson(raw);
}

/** Items of a list; none where it is absent. */
export const listOf = (raw: Raw): Json[] => (Array.isArray(raw) ? raw : []);

/** Distinct trimmed texts of what a span head has: a string, a list of strings, or nothing. */
export function spanTexts(raw: Raw): string[] {
  const texts = typeof raw === 'string' ? [raw] : listOf(raw).map(String);
  return [...new Set(texts.map((text) => text.trim()))];
}
