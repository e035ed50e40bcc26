/** What a student decides about an answer, apart from how it decides it. */

/** In a choice's `values`: the field is left out of the answer. */
export const LEFT_OUT = '';
/** In a choice's `values`: the field has a value that only the teacher can write. Not JSON, so it is no value of any field. */
export const LEFT_TO_TEACHER = 'teacher';
/** In a choice's `values`: the optional object is there; what is in it, other heads say. */
export const PRESENT = '{}';

/**
 * One thing that a student decides: a leaf of the output schema, or whether an optional object is there. `name` is its
 * path joined by dots (`label`, `guest.name`); it names heads, model outputs (`logits.<name>`), policies and reports.
 *
 * What lies in an optional object that is not there is absent as well: a choice has the value `''` for it, a number
 * and a span are absent, a set is empty.
 */
export type Head = ChoiceHead | TagsHead | NumberHead | SpanHead;

/** One of several values: an enum, a boolean, a nullable const, an optional object, a field left to the teacher. */
export interface ChoiceHead {
  readonly kind: 'choice';
  readonly name: string;
  /** Canonical JSON of each value (`'"spam"'`, `'true'`, `'null'`, `'3'`), or LEFT_OUT, PRESENT, LEFT_TO_TEACHER. At least two. */
  readonly values: readonly string[];
}

/** A set: an array of enum. No item at all also stands for an array that is left out or null. */
export interface TagsHead {
  readonly kind: 'tags';
  readonly name: string;
  /** Canonical JSON of each label. */
  readonly labels: readonly string[];
  /** 0 wherever the array can be empty, left out or null. */
  readonly minItems: number;
  readonly maxItems: number;
}

/** A bounded number, predicted as a distribution over bins (histogram loss; Imani and White, 2018, "Improving regression performance with distributional losses"). */
export interface NumberHead {
  readonly kind: 'number';
  readonly name: string;
  readonly minimum: number;
  readonly maximum: number;
  readonly integer: boolean;
  /** Two numbers that are at most so far apart agree. */
  readonly tolerance: number;
  /** How absence is written; undefined where the number is always there. Absence is one more class, after the bins. */
  readonly absent: typeof LEFT_OUT | 'null' | undefined;
  /** Centres, rising and evenly spaced from `minimum` to `maximum`, no further apart than the tolerance (or 1 for integers). */
  readonly bins: readonly number[];
}

/** Text copied from the input: at most one span, or with `many` an array of them. */
export interface SpanHead {
  readonly kind: 'span';
  readonly name: string;
  readonly many: boolean;
  /** How absence is written; undefined where there is always one (an empty array of spans is no absence). */
  readonly absent: typeof LEFT_OUT | 'null' | undefined;
  /** 1 without `many`. */
  readonly maxItems: number;
}

/** What a head says of one answer; of the same kind as its head. */
export type HeadValue =
  | { readonly kind: 'choice'; readonly index: number }
  | { readonly kind: 'tags'; readonly indices: readonly number[] }
  /** undefined: absent. */
  | { readonly kind: 'number'; readonly value: number | undefined }
  /** UTF-16 offsets into the rendered text, `end` exclusive; in the text's order, not overlapping. None: absent, or an empty array. */
  | { readonly kind: 'span'; readonly spans: readonly (readonly [start: number, end: number])[] };

export type EncodeFault = 'span-not-in-text' | 'empty-span' | 'spans-overlap';

export type Encoded =
  | { readonly ok: true; readonly values: readonly HeadValue[] }
  | { readonly ok: false; readonly head: string; readonly reason: EncodeFault; readonly message: string };

export interface Agreement {
  readonly whole: boolean;
  /** By the name of the head. */
  readonly heads: Readonly<Record<string, boolean>>;
}

/** An output schema compiled to what a student learns, and back. All functions are pure. */
export interface OutputPlan {
  readonly heads: readonly Head[];
  /** Where the output is one required enum of strings and nothing else: its field, and the labels in the schema's order. */
  readonly single: { readonly field: string; readonly labels: readonly string[] } | undefined;
  /** A valid answer's values, in the order of `heads`. `text` is the rendered text that the answer is about. */
  encode(answerJson: string, text: string): Encoded;
  /**
   * The answer as canonical JSON, which always validates against the schema. undefined: only the teacher can answer,
   * because a field left to it is needed, or because the heads contradict each other (an object is there, but not what
   * it requires).
   */
  decode(values: readonly HeadValue[], text: string): string | undefined;
  /** Of two valid answers: numbers within the tolerance agree, sets whatever their order, spans by their trimmed text. */
  agreement(oneJson: string, otherJson: string): Agreement;
  /** For F1: what a valid answer asserts, by the name of the head: labels of a set, texts of spans, the value of a choice; nothing where absent. */
  items(answerJson: string): Readonly<Record<string, readonly string[]>>;
}
