import { Ajv } from 'ajv';
import { MAX_ANSWER_CHARACTERS } from './limits.ts';
import { type OutputJsonSchema, outputSpec } from './output-spec.ts';

export type AnswerErrorReason = 'empty' | 'too-long' | 'not-json' | 'prose-around-json' | 'outside-schema';

export type ParsedAnswer =
  | {
      ok: true;
      /** Canonical JSON, e.g. `{"label":"spam"}`. */
      answer: string;
      label: string;
      labelIndex: number;
    }
  | { ok: false; reason: AnswerErrorReason; message: string };

/**
 * A parser of what a teacher wrote, for one output schema. Accepted is the JSON object alone, or alone in one fenced
 * block; JSON with prose around it is refused, because then nothing says which part is the answer. It never throws.
 */
export function answerParser(schema: OutputJsonSchema): (rawText: string) => ParsedAnswer {
  const { field, labels } = outputSpec(schema);
  const compile = () => new Ajv({ strict: true, validateSchema: false }).compile(schema); // zod has validated it
  // Most teachers write the canonical form, for which nothing needs to be compiled; it takes tens of milliseconds.
  let compiled: ReturnType<typeof compile> | undefined;
  const accepted = new Map<string, ParsedAnswer>();
  labels.forEach((label, labelIndex) => {
    const answer = JSON.stringify({ [field]: label });
    accepted.set(answer, { ok: true, answer, label, labelIndex });
  });

  return (rawText) => {
    const known = accepted.get(rawText);
    if (known !== undefined) return known;
    if (rawText.length > MAX_ANSWER_CHARACTERS) {
      return refuse('too-long', `expected JSON of at most ${MAX_ANSWER_CHARACTERS} characters, got ${rawText.length}`);
    }
    const text = unfence(rawText.trim());
    if (text === '') return refuse('empty', 'expected a JSON object, got an empty answer');
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      const reason = hasObjectInside(text) ? 'prose-around-json' : 'not-json';
      return refuse(reason, `expected a JSON object and nothing else, got ${excerpt(text)} (${String(error)})`);
    }
    compiled ??= compile();
    if (!compiled(value)) {
      const fault = compiled.errors?.[0];
      const where = fault?.instancePath === '' || fault === undefined ? 'the answer' : fault.instancePath;
      return refuse(
        'outside-schema',
        `expected ${field} to be one of ${excerpt(labels.join(', '))}: ${where} ${fault?.message ?? 'does not fit'}, got ${excerpt(text)}`,
      );
    }
    const answer = JSON.stringify({ [field]: (value as Record<string, unknown>)[field] });
    return (
      accepted.get(answer) ?? refuse('outside-schema', `expected ${field} to be a known label, got ${excerpt(text)}`)
    );
  };
}

function refuse(reason: AnswerErrorReason, message: string): ParsedAnswer {
  return { ok: false, reason, message };
}

/** Takes a text that is exactly one fenced block out of its fence; any other text stays as it is. */
function unfence(text: string): string {
  const inside = /^```(?:json)?[ \t]*\r?\n([\s\S]*?)\r?\n?[ \t]*```$/i.exec(text)?.[1];
  return inside === undefined ? text : inside.trim();
}

function hasObjectInside(text: string): boolean {
  const from = text.indexOf('{');
  const to = text.lastIndexOf('}');
  if (from < 0 || to < from) return false;
  try {
    JSON.parse(text.slice(from, to + 1));
    return true;
  } catch {
    return false;
  }
}

function excerpt(text: string): string {
  return text.length <= 200 ? text : `${text.slice(0, 200)}…`;
}
