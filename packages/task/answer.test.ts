import { Ajv } from 'ajv';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { answerParser } from './answer.ts';

const schema = {
  type: 'object' as const,
  properties: { label: { enum: ['ham', 'spam', 'toString'] } },
  required: ['label'],
  additionalProperties: false as const,
};
const parse = answerParser(schema);
const allowed = new Ajv().compile(schema);

describe('an answer', () => {
  test.each([
    '{"label":"spam"}',
    ' {\n"label" : "spam" }\n',
    '```json\n{"label":"spam"}\n```',
    '```\n{"label": "spam"}```',
    '{"label":"\\u0073pam"}',
  ])('%j is taken in canonical form', (text) => {
    expect(parse(text)).toEqual({ ok: true, answer: '{"label":"spam"}', label: 'spam', labelIndex: 1 });
  });

  test.each([
    ['', 'empty'],
    ['```json\n\n```', 'empty'],
    ['{"label":"sp', 'not-json'],
    ['spam', 'not-json'],
    ['{"label":"spam"} {"label":"ham"}', 'not-json'],
    ['Sure! {"label":"spam"}', 'prose-around-json'],
    ['```json\n{"label":"spam"}\n```\nHope this helps', 'prose-around-json'],
    ['"spam"', 'outside-schema'],
    ['null', 'outside-schema'],
    ['{"label":"SPAM"}', 'outside-schema'],
    ['{"label":["spam"]}', 'outside-schema'],
    ['{"label":"spam","why":"x"}', 'outside-schema'],
    ['{"__proto__":{"label":"spam"}}', 'outside-schema'],
    [' '.repeat(70_000), 'too-long'],
  ])('%j is refused: %s', (text, reason) => {
    const parsed = parse(text);
    expect(parsed).toMatchObject({ ok: false, reason });
    if (!parsed.ok) expect(parsed.message).toMatch(/expected .*got /);
  });

  test('is never accepted when the schema refuses it, and always when the schema accepts it', () => {
    const label = fc.oneof(fc.constantFrom(...schema.properties.label.enum), fc.jsonValue());
    const value = fc.oneof(
      fc.record({ label }, { requiredKeys: [] }),
      fc.dictionary(fc.constantFrom('label', 'other'), label),
      fc.jsonValue(),
    );
    fc.assert(
      fc.property(value, fc.constantFrom(0, 2), (given, indent) => {
        expect(parse(JSON.stringify(given, undefined, indent)).ok).toBe(allowed(given));
      }),
    );
  });

  test('of any text at all neither throws nor yields a label outside the schema', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const parsed = parse(text);
        expect(parsed.ok && !schema.properties.label.enum.includes(parsed.label)).toBe(false);
      }),
    );
  });
});
