import { Ajv } from 'ajv';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { answerParser } from './answer.ts';
import { outputPlan } from './output/plan.ts';

const schema = {
  type: 'object' as const,
  properties: { label: { enum: ['ham', 'spam', 'toString'] } },
  required: ['label'],
  additionalProperties: false as const,
};
const parse = answerParser(schema, outputPlan(schema));
const allowed = new Ajv().compile(schema);

describe('an answer', () => {
  test.each([
    '{"label":"spam"}',
    ' {\n"label" : "spam" }\n',
    '```json\n{"label":"spam"}\n```',
    '```\n{"label": "spam"}```',
    '{"label":"\\u0073pam"}',
  ])('%j is taken in canonical form', (text) => {
    expect(parse(text)).toEqual({ ok: true, answer: '{"label":"spam"}' });
  });

  test.each([
    ['', 'empty'],
    ['```json\n\n```', 'empty'],
    ['{"label":"sp', 'not-json'],
    ['spam', 'not-json'],
    ['{"label":"spam"} {"label":"ham"}', 'several-objects'],
    ['First {"label":"spam"}, or rather:\n```json\n{"label":"ham"}\n```', 'several-objects'],
    ['{"label":"}{"} is } what {I} think', 'prose-around-json'],
    ['{spam}', 'not-json'],
    ['Sure! {"label":"spam"}', 'prose-around-json'],
    ['```json\n{"label":"spam"}\n```\nHope this helps', 'prose-around-json'],
    ['"spam"', 'outside-schema'],
    ['null', 'outside-schema'],
    ['{"label":"SPAM"}', 'wrong-case'],
    ['{"label":" Spam"}', 'wrong-case'],
    ['{"label":""}', 'outside-schema'],
    ['[{"label":"spam"}]', 'outside-schema'],
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
        expect(parsed.ok && !schema.properties.label.enum.includes(JSON.parse(parsed.answer).label)).toBe(false);
      }),
    );
  });
});

describe('an answer of several fields', () => {
  const fields = {
    type: 'object',
    properties: {
      kind: { enum: ['Book', 'Cancel'] },
      guest: {
        type: ['object', 'null'],
        properties: { name: { type: 'string', 'x-copied-from': 'text' }, vip: { type: 'boolean' } },
        required: ['name'],
        additionalProperties: false,
      },
      tags: { type: 'array', items: { enum: ['late', 'early', null] }, uniqueItems: true, maxItems: 2 },
      nights: { anyOf: [{ type: 'integer', minimum: 1, maximum: 30 }, { type: 'null' }] },
    },
    required: ['kind', 'guest'],
    additionalProperties: false,
  };
  const parseFields = answerParser(fields, outputPlan(fields));
  const text = 'A room for Ann Lee, please';

  test('is put in canonical order, its lists as they came', () => {
    const given = '{"tags":["late",null],"nights":null,"kind":"Book","guest":{"vip":true,"name":"Ann Lee"}}';
    const answer = '{"guest":{"name":"Ann Lee","vip":true},"kind":"Book","nights":null,"tags":["late",null]}';
    expect(parseFields(given, text)).toEqual({ ok: true, answer });
  });

  test.each([
    ['{"guest":null}', 'outside-schema', "must have required property 'kind'"],
    ['{"kind":"book","guest":null}', 'wrong-case', 'got book, which is Book in another case'],
    ['{"kind":"Book","guest":null,"tags":["LATE"]}', 'wrong-case', 'tags.0 to be one of late, early, null'],
    ['{"kind":"Book","guest":null,"tags":["late","late"]}', 'outside-schema', 'duplicate items'],
    ['{"kind":"Book","guest":null,"nights":31}', 'outside-schema', 'nights must be <= 30'],
    ['{"kind":"Book","guest":null,"why":"so"}', 'outside-schema', 'only fields of the schema, got why'],
    [
      '{"kind":"Book","guest":{"name":"ann lee"}}',
      'span-not-in-text',
      'guest.name: expected text copied from the input',
    ],
    ['{"kind":"Book","guest":{"name":" "}}', 'empty-span', 'got an empty string'],
  ])('%j is refused: %s', (given, reason, message) => {
    const parsed = parseFields(given, text);
    expect(parsed).toMatchObject({ ok: false, reason });
    if (!parsed.ok) expect(parsed.message).toContain(message);
  });
});
