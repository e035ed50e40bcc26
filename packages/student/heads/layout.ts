import { type ChoiceHead, type Head, type HeadValue, PRESENT, type SpanHead } from '@understudy/task/output/head';

/** Tags of a token for one span head, in this order: outside of any span, first token of one, further token of one. */
export const TAGS = 3;
export const [OUTSIDE, BEGIN, INSIDE] = [0, 1, 2] as const;

/** Where a head's logits lie among those of its level. */
export type Place = {
  readonly head: Head;
  readonly at: number;
  readonly width: number;
  /** Indices of the heads that say whether the objects are there in which this one lies. */
  readonly within: readonly number[];
};

/**
 * How the logits of all heads lie side by side: those of a text in one matrix [texts, textWidth], those of a text's
 * tokens (of span heads) in another, [texts, tokens, tokenWidth].
 */
export type Layout = {
  /** In the order of the heads. */
  readonly places: readonly Place[];
  readonly texts: readonly Place[];
  readonly tokens: readonly Place[];
  readonly textWidth: number;
  readonly tokenWidth: number;
};

/** How many logits a head has: for a text, or, of a span, for each token. */
export function widthOf(head: Head): number {
  switch (head.kind) {
    case 'choice':
      return head.values.length;
    case 'tags':
      return head.labels.length;
    case 'number':
      return head.bins.length + (head.absent === undefined ? 0 : 1);
    case 'span':
      return TAGS;
  }
}

const isPresence = (head: Head): head is ChoiceHead => head.kind === 'choice' && head.values.includes(PRESENT);
export const isSpan = (head: Head): head is SpanHead => head.kind === 'span';

/** Lays the logits of heads side by side, in the order of the heads. */
export function layoutOf(heads: readonly Head[]): Layout {
  let [textWidth, tokenWidth] = [0, 0];
  const places = heads.map((head): Place => {
    const width = widthOf(head);
    const at = isSpan(head) ? tokenWidth : textWidth;
    if (isSpan(head)) tokenWidth += width;
    else textWidth += width;
    const within = heads.flatMap((other, i) =>
      isPresence(other) && head.name.startsWith(`${other.name}.`) ? [i] : [],
    );
    return { head, at, width, within };
  });
  return {
    places,
    texts: places.filter(({ head }) => !isSpan(head)),
    tokens: places.filter(({ head }) => isSpan(head)),
    textWidth,
    tokenWidth,
  };
}

/** The head of a task whose output is one enum of strings. */
export const labelHead = (field: string, labels: readonly string[]): ChoiceHead => ({
  kind: 'choice',
  name: field,
  values: labels.map((label) => JSON.stringify(label)),
});

/** The field and the labels of a student that answers with one of several strings, and nothing else; else undefined. */
export function singleOf(heads: readonly Head[]): { field: string; labels: string[] } | undefined {
  const [head] = heads;
  if (heads.length !== 1 || head?.kind !== 'choice') return undefined;
  if (!head.values.every((value) => value.startsWith('"'))) return undefined;
  return { field: head.name, labels: head.values.map((value) => String(JSON.parse(value))) };
}

/** The model output of a head. A dot before the path keeps it apart from every other output and input. */
export const outputName = (head: string): string => `logits.${head}`;

/** Whether the objects are there in which a head lies. What an absent object contains is not asked for. */
export const isAsked = ({ within }: Place, layout: Layout, values: readonly HeadValue[]): boolean =>
  within.every((index) => {
    const { head } = layout.places[index] as Place;
    const value = values[index];
    return head.kind === 'choice' && value?.kind === 'choice' && head.values[value.index] === PRESENT;
  });
