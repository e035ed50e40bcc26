import { canonicalJson } from '../canonical.ts';
import type { CompiledSchema } from './compile.ts';
import type { Encoded, Head, HeadValue, SpanHead } from './head.ts';
import { choiceOf, listOf, type Raw, rawValues, spanTexts } from './raw.ts';

type Fault = Encoded & { ok: false };
type Span = readonly [start: number, end: number];

/** Turns valid answers into the values of the heads. */
export function encoder(compiled: CompiledSchema): (answerJson: string, text: string) => Encoded {
  const encodeHeads = compiled.heads.map(headEncoder);
  return (answerJson, text) => {
    const values: HeadValue[] = [];
    for (const [index, raw] of rawValues(compiled, answerJson).entries()) {
      const value = (encodeHeads[index] as HeadEncoder)(raw, text);
      if ('ok' in value) return value;
      values.push(value);
    }
    return { ok: true, values };
  };
}

type HeadEncoder = (raw: Raw, text: string) => HeadValue | Fault;

function headEncoder(head: Head): HeadEncoder {
  switch (head.kind) {
    case 'choice': {
      const indices = indexOf(head.values);
      return (raw) => ({ kind: 'choice', index: indices.get(choiceOf(head, raw)) as number });
    }
    case 'tags': {
      const indices = indexOf(head.labels);
      return (raw) => {
        const found = new Set(listOf(raw).map((item) => indices.get(canonicalJson(item)) as number));
        return { kind: 'tags', indices: [...found].sort((a, b) => a - b) };
      };
    }
    case 'number':
      return (raw) => ({ kind: 'number', value: typeof raw === 'number' ? raw : undefined });
    case 'span':
      return (raw, text) => spansOf(head, raw, text);
  }
}

const indexOf = (values: readonly string[]) => new Map(values.map((value, index) => [value, index]));

/** Longer ones choose their place first, so that what is also part of them finds another one. */
function spansOf(head: SpanHead, raw: Raw, text: string): HeadValue | Fault {
  const spans: Span[] = [];
  for (const wanted of spanTexts(raw).sort((a, b) => b.length - a.length)) {
    if (wanted === '') return faultOf(head, 'empty-span', 'expected text copied from the input, got an empty string');
    const place = placeOf(wanted, text, spans);
    if (place === 'absent') {
      return faultOf(
        head,
        'span-not-in-text',
        `expected text copied from the input, got ${shown(wanted)}, which is not in it`,
      );
    }
    if (place === 'taken') {
      return faultOf(
        head,
        'spans-overlap',
        `expected spans that do not overlap, got ${shown(wanted)} inside another one`,
      );
    }
    spans.push(place);
  }
  return { kind: 'span', spans: spans.sort(([a], [b]) => a - b) };
}

/** The first place that is free, at the edges of words if there is such a one. */
function placeOf(wanted: string, text: string, taken: readonly Span[]): Span | 'absent' | 'taken' {
  let inWord: Span | undefined;
  let start = text.indexOf(wanted);
  if (start < 0) return 'absent';
  for (; start >= 0; start = text.indexOf(wanted, start + 1)) {
    const end = start + wanted.length;
    if (taken.some(([from, to]) => start < to && from < end)) continue;
    if (isEdge(text, start) && isEdge(text, end)) return [start, end];
    inWord ??= [start, end];
  }
  return inWord ?? 'taken';
}

const WORD = /[\p{L}\p{N}]/u;

/** Whether the characters around an offset do not both belong to words. */
function isEdge(text: string, offset: number): boolean {
  return !(WORD.test(text[offset - 1] ?? '') && WORD.test(text[offset] ?? ''));
}

const faultOf = ({ name }: SpanHead, reason: Fault['reason'], message: string): Fault => ({
  ok: false,
  head: name,
  reason,
  message: `${name}: ${message}`,
});

const shown = (text: string): string => JSON.stringify(text.length <= 120 ? text : `${text.slice(0, 120)}…`);
