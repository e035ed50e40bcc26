import { InputError } from './errors.ts';
import { MAX_INPUT_BYTES } from './limits.ts';

/** Exactly the task's fields, in the task's order; its `JSON.stringify` is the canonical text. */
export type CanonicalInput = Readonly<Record<string, string>>;

/**
 * A canonicaliser for one list of fields. Each value becomes well-formed Unicode without U+0000 (both become U+FFFD:
 * protobuf and PostgreSQL hold neither), NFC-normalised, then trimmed. Idempotent.
 * Throws `InputError` on a missing, unknown or non-string field, or when the canonical text is over MAX_INPUT_BYTES.
 */
export function inputCanonicaliser(fields: readonly string[]): (input: unknown) => CanonicalInput {
  const known = new Set(fields);
  return (input) => {
    if (input === null || typeof input !== 'object' || Array.isArray(input)) {
      throw new InputError(
        'not-an-object',
        `expected an object with the fields ${fields.join(', ')}, got ${nameOf(input)}`,
      );
    }
    const given = input as Record<string, unknown>;
    const canonical: Record<string, string> = {};
    for (const field of fields) canonical[field] = cleanField(given, field);
    for (const key of Object.keys(given)) {
      if (!known.has(key)) {
        throw new InputError(
          'unknown-field',
          `unknown field ${key}: expected ${fields.join(', ')}; remove it or add it to input.fields`,
          key,
        );
      }
    }
    refuseTooLarge(canonical);
    return canonical;
  };
}

function cleanField(given: Record<string, unknown>, field: string): string {
  const value = Object.hasOwn(given, field) ? given[field] : undefined;
  if (value === undefined)
    throw new InputError('missing-field', `field ${field} is missing; add it as a string`, field);
  if (typeof value !== 'string') {
    throw new InputError('not-a-string', `field ${field}: expected a string, got ${nameOf(value)}; convert it`, field);
  }
  return value.toWellFormed().replaceAll('\0', '\uFFFD').normalize('NFC').trim();
}

function refuseTooLarge(canonical: CanonicalInput): void {
  let characters = 0;
  for (const value of Object.values(canonical)) characters += value.length;
  // A UTF-16 unit takes at most 6 bytes in JSON text (\u001f), so short inputs need no second look.
  if (characters * 6 + 1_024 <= MAX_INPUT_BYTES) return;
  const bytes = Buffer.byteLength(JSON.stringify(canonical));
  if (bytes > MAX_INPUT_BYTES) {
    throw new InputError(
      'too-large',
      `prompt over the size limit: its canonical input has ${bytes} bytes, expected at most ${MAX_INPUT_BYTES}; shorten its fields`,
    );
  }
}

function nameOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'a list' : `a ${typeof value}`;
}
