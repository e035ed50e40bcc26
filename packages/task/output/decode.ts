import type { Json } from '../canonical.ts';
import type { CompiledSchema, Field, Node } from './compile.ts';
import { type Head, type HeadValue, LEFT_OUT, LEFT_TO_TEACHER, type NumberHead } from './head.ts';

/** Digits of a number that an answer keeps: none of a float's noise, all that anybody means. */
const SIGNIFICANT_DIGITS = 12;

/** What the heads say of a node; `unanswerable`: something that only the teacher can write. */
type Decoded = { readonly value: Json } | 'absent' | 'unanswerable';

/** The heads' values of one answer; `parsed`: of each choice and set the JSON values by index. */
interface Given {
  readonly heads: readonly Head[];
  readonly parsed: readonly (readonly Decoded[])[];
  readonly values: readonly HeadValue[];
  readonly text: string;
}

/** Turns values of the heads into answers that validate. */
export function decoder(compiled: CompiledSchema): (values: readonly HeadValue[], text: string) => string | undefined {
  const { root, heads } = compiled;
  const parsed = heads.map(parsedValues);
  return (values, text) => {
    const decoded = objectOf(root, { heads, parsed, values, text });
    return typeof decoded === 'object' ? JSON.stringify(decoded.value) : undefined;
  };
}

function parsedValues(head: Head): Decoded[] {
  const values = head.kind === 'choice' ? head.values : head.kind === 'tags' ? head.labels : [];
  return values.map((value) => {
    if (value === LEFT_OUT) return 'absent';
    return value === LEFT_TO_TEACHER ? 'unanswerable' : { value: JSON.parse(value) as Json };
  });
}

function objectOf(node: Node & { kind: 'object' }, given: Given): Decoded {
  if (node.presence !== undefined) {
    const presence = choiceOf(given, node.presence);
    if (typeof presence === 'string' || presence.value === null) return presence;
  }
  const object: { [key: string]: Json } = {};
  for (const field of node.fields) {
    const decoded = fieldOf(field, given);
    if (decoded === 'unanswerable') return decoded;
    if (decoded !== 'absent') object[field.key] = decoded.value;
    else if (field.required) return 'unanswerable';
  }
  return { value: object };
}

function fieldOf(field: Field, given: Given): Decoded {
  const { node } = field;
  if (node.kind === 'fixed') return node;
  if (node.kind === 'object') return objectOf(node, given);
  const head = given.heads[node.head] as Head;
  const value = given.values[node.head];
  if (value?.kind === 'choice' && head.kind === 'choice') return choiceOf(given, node.head);
  if (value?.kind === 'number' && head.kind === 'number') return numberOf(head, field, value.value);
  if (value?.kind === 'tags' && head.kind === 'tags') {
    const items = [...new Set(value.indices)].map((index) => labelOf(given, node.head, index) as { value: Json });
    return listOf(
      field,
      node.minItems,
      head.maxItems,
      items.map((item) => item.value),
    );
  }
  if (value?.kind === 'span' && head.kind === 'span') {
    const texts = textsOf(value.spans, given.text);
    if (head.many) return listOf(field, node.minItems, head.maxItems, texts);
    const [only] = texts;
    return texts.length > 1 ? 'unanswerable' : only === undefined ? absenceOf(field) : { value: only };
  }
  throw new TypeError(`head ${head.name}: expected a value of kind ${head.kind}, got ${value?.kind ?? 'none'}`);
}

function choiceOf(given: Given, head: number): Decoded {
  const value = given.values[head];
  if (value?.kind === 'choice') return labelOf(given, head, value.index);
  throw new TypeError(`head ${given.heads[head]?.name}: expected a choice, got ${value?.kind ?? 'none'}`);
}

function labelOf({ heads, parsed }: Given, head: number, index: number): Decoded {
  const label = parsed[head]?.[index];
  if (label !== undefined) return label;
  throw new RangeError(`head ${heads[head]?.name}: expected an index below ${parsed[head]?.length}, got ${index}`);
}

/** How a field says that there is nothing: left out where it may be, else null. */
function absenceOf({ required, nullable }: Field): Decoded {
  return required && nullable ? { value: null } : 'absent';
}

function numberOf({ minimum, maximum, integer }: NumberHead, field: Field, value: number | undefined): Decoded {
  if (value === undefined) return absenceOf(field);
  if (Number.isNaN(value)) return 'unanswerable';
  const rounded = integer ? Math.round(value) : Number(value.toPrecision(SIGNIFICANT_DIGITS));
  return { value: Math.min(maximum, Math.max(minimum, rounded)) };
}

function listOf(field: Field, minItems: number, maxItems: number, items: Json[]): Decoded {
  if (items.length === 0 && (!field.required || field.nullable)) return absenceOf(field);
  return items.length < minItems || items.length > maxItems ? 'unanswerable' : { value: items };
}

function textsOf(spans: readonly (readonly [number, number])[], text: string): string[] {
  const texts = spans.map(([start, end]) => text.slice(start, end).trim());
  return [...new Set(texts.filter((one) => one !== ''))];
}
