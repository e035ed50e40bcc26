import { Ajv, type ErrorObject } from 'ajv';
import { canonicalJson, type Json } from './canonical.ts';
import { MAX_ANSWER_CHARACTERS } from './limits.ts';
import type { OutputPlan } from './output/head.ts';
import type { OutputJsonSchema } from './output/schema.ts';

/** Each is counted apart: what helps against one does not help against another. */
export type AnswerErrorReason =
  | 'empty'
  | 'too-long'
  | 'not-json'
  | 'prose-around-json'
  | 'several-objects'
  | 'outside-schema'
  | 'wrong-case'
  | 'empty-span'
  | 'span-not-in-text';

export type ParsedAnswer =
  /** Canonical JSON, e.g. `{"label":"spam"}`. */
  { ok: true; answer: string } | { ok: false; reason: AnswerErrorReason; message: string };

/**
 * A parser of what a teacher wrote, for one output schema. Accepted is the JSON object alone, or alone in one fenced
 * block; JSON with prose around it is refused, because then nothing says which part is the answer. Copied spans are
 * looked for in the text that was asked about, where it is given. It never throws, and changes nothing but spaces and
 * the order of keys.
 */
export function answerParser(
  schema: OutputJsonSchema,
  plan: OutputPlan,
): (rawText: string, text?: string) => ParsedAnswer {
  // Most teachers write the canonical form, for which nothing needs to be compiled; it takes tens of milliseconds.
  let compiled: ReturnType<typeof answerValidator> | undefined;
  const { single } = plan;
  const known = new Set(single?.labels.map((label) => JSON.stringify({ [single.field]: label })));
  const copies = plan.heads.some(({ kind }) => kind === 'span');

  return (rawText, text) => {
    if (known.has(rawText)) return { ok: true, answer: rawText };
    const read = readJson(rawText);
    if ('reason' in read) return read;
    compiled ??= answerValidator(schema);
    if (!compiled(read.value)) return misfit(compiled.errors ?? [], read.value);
    const answer = canonicalJson(read.value);
    if (!copies || text === undefined) return { ok: true, answer };
    const encoded = plan.encode(answer, text);
    // Overlapping spans are a valid answer, although no student can learn it.
    if (encoded.ok || encoded.reason === 'spans-overlap') return { ok: true, answer };
    return refuse(encoded.reason, encoded.message);
  };
}

/** The schema is known to be sound, so that ajv need not look for mistakes; keywords of our own say nothing to it. */
export function answerValidator(schema: OutputJsonSchema) {
  return new Ajv({ strict: false, validateSchema: false, ownProperties: true, validateFormats: false }).compile(schema);
}

function readJson(rawText: string): { value: Json } | (ParsedAnswer & { ok: false }) {
  if (rawText.length > MAX_ANSWER_CHARACTERS) {
    return refuse('too-long', `expected JSON of at most ${MAX_ANSWER_CHARACTERS} characters, got ${rawText.length}`);
  }
  const text = unfence(rawText.trim());
  if (text === '') return refuse('empty', 'expected a JSON object, got an empty answer');
  try {
    return { value: JSON.parse(text) as Json };
  } catch (error) {
    const inside = objectsInside(text);
    if (inside > 1) {
      return refuse(
        'several-objects',
        `expected one JSON object, got ${inside}: ${excerpt(text)}; ask for one answer only`,
      );
    }
    const reason = inside === 1 ? 'prose-around-json' : 'not-json';
    return refuse(reason, `expected a JSON object and nothing else, got ${excerpt(text)} (${String(error)})`);
  }
}

function refuse(reason: AnswerErrorReason, message: string): ParsedAnswer & { ok: false } {
  return { ok: false, reason, message };
}

/** What the first error says, in the words of the others. */
function misfit([error]: readonly ErrorObject[], answer: Json): ParsedAnswer {
  const given = excerpt(JSON.stringify(answer));
  if (error === undefined) return refuse('outside-schema', `expected an answer of the task's schema, got ${given}`);
  const { instancePath, keyword, params, message } = error;
  const name = instancePath === '' ? 'the answer' : instancePath.slice(1).replaceAll('/', '.');
  if (keyword === 'enum' || keyword === 'const') {
    const allowed: Json[] = keyword === 'enum' ? params.allowedValues : [params.allowedValue];
    const expected = `expected ${name} to be one of ${excerpt(allowed.map(plain).join(', '))}`;
    const value = valueAt(answer, instancePath);
    const meant = allowed.find((one) => sameButCase(one, value));
    if (meant === undefined) return refuse('outside-schema', `${expected}, got ${given}`);
    return refuse('wrong-case', `${expected}, got ${plain(value)}, which is ${plain(meant)} in another case`);
  }
  if (keyword === 'additionalProperties') {
    const unknown = String(params.additionalProperty);
    return refuse('outside-schema', `expected ${name} to have only fields of the schema, got ${unknown} in ${given}`);
  }
  return refuse('outside-schema', `expected an answer of the schema: ${name} ${message}, got ${given}`);
}

const plain = (value: Json | undefined): string =>
  typeof value === 'string' ? value : (JSON.stringify(value) ?? 'nothing');

function sameButCase(one: Json, other: Json | undefined): boolean {
  return typeof one === 'string' && typeof other === 'string' && one.toLowerCase() === other.trim().toLowerCase();
}

/** The value that a JSON pointer leads to. */
function valueAt(value: Json, pointer: string): Json | undefined {
  const keys = pointer.split('/').slice(1);
  return keys.reduce<Json | undefined>((inner, key) => (inner as { [key: string]: Json } | undefined)?.[key], value);
}

/** Takes a text that is exactly one fenced block out of its fence; any other text stays as it is. */
function unfence(text: string): string {
  const inside = /^```(?:json)?[ \t]*\r?\n([\s\S]*?)\r?\n?[ \t]*```$/i.exec(text)?.[1];
  return inside === undefined ? text : inside.trim();
}

/** How many JSON objects stand in a text, side by side. */
function objectsInside(text: string): number {
  let count = 0;
  let start = -1;
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (quoted) {
      if (character === '\\') at += 1;
      else if (character === '"') quoted = false;
    } else if (character === '"' && depth > 0) quoted = true;
    else if (character === '{') {
      if (depth === 0) start = at;
      depth += 1;
    } else if (character === '}' && depth > 0) {
      depth -= 1;
      if (depth === 0 && isJson(text.slice(start, at + 1))) count += 1;
    }
  }
  return count;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function excerpt(text: string): string {
  return text.length <= 200 ? text : `${text.slice(0, 200)}…`;
}
