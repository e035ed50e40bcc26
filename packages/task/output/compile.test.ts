import { describe, expect, test } from 'vitest';
import { compileSchema } from './compile.ts';
import { outputPlan } from './plan.ts';

const object = (properties: Record<string, unknown>, more: Record<string, unknown> = {}) => ({
  type: 'object',
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
  ...more,
});
const label = { enum: ['a', 'b'] };
const copied = { type: 'string', 'x-copied-from': 'text' };
const headsOf = (schema: unknown) => outputPlan(schema).heads;

describe('a field', () => {
  test.each([
    [label, { kind: 'choice', values: ['"a"', '"b"'] }],
    [{ type: 'boolean' }, { kind: 'choice', values: ['false', 'true'] }],
    [{ type: ['boolean', 'null'] }, { kind: 'choice', values: ['false', 'true', 'null'] }],
    [{ enum: [1, 'x', true, null] }, { kind: 'choice', values: ['1', '"x"', 'true', 'null'] }],
    [
      { type: ['string', 'null'], enum: ['a', 'b'] },
      { kind: 'choice', values: ['"a"', '"b"'] },
    ],
    [{ anyOf: [{ type: 'null' }, label] }, { kind: 'choice', values: ['"a"', '"b"', 'null'] }],
    [{ anyOf: [{ const: 'a' }, { type: 'null' }] }, { kind: 'choice', values: ['"a"', 'null'] }],
    [{ anyOf: [{ $ref: '#/$defs/label' }, { type: 'null' }] }, { kind: 'choice', values: ['"a"', '"b"', 'null'] }],
    [
      { $ref: '#/$defs/label', description: 'which' },
      { kind: 'choice', values: ['"a"', '"b"'] },
    ],
    [
      { type: 'integer', minimum: 1, maximum: 4 },
      { kind: 'number', integer: true, tolerance: 0, bins: [1, 2, 3, 4] },
    ],
    [
      { type: 'integer', minimum: 0, maximum: 9, 'x-tolerance': 3 },
      { kind: 'number', tolerance: 3, bins: [0, 3, 6, 9] },
    ],
    [
      { type: ['number', 'null'], minimum: 0, maximum: 2, 'x-tolerance': 1 },
      { kind: 'number', bins: [0, 1, 2], absent: 'null' },
    ],
    [
      { type: 'array', items: label },
      { kind: 'tags', labels: ['"a"', '"b"'], minItems: 0, maxItems: 2 },
    ],
    [
      { type: 'array', items: label, minItems: 1, maxItems: 1 },
      { kind: 'tags', minItems: 1, maxItems: 1 },
    ],
    [copied, { kind: 'span', many: false, absent: undefined, maxItems: 1 }],
    [
      { ...copied, type: ['string', 'null'] },
      { kind: 'span', many: false, absent: 'null', maxItems: 1 },
    ],
    [{ anyOf: [copied, { type: 'null' }] }, { kind: 'span', many: false, absent: 'null', maxItems: 1 }],
    [
      { type: 'array', items: copied, maxItems: 3 },
      { kind: 'span', many: true, absent: undefined, maxItems: 3 },
    ],
    [
      { type: ['string', 'null'], 'x-left-to': 'teacher' },
      { kind: 'choice', values: ['teacher', 'null'] },
    ],
    [
      { oneOf: [{ type: 'object' }, { type: 'null' }], 'x-left-to': 'teacher' },
      { kind: 'choice', values: ['teacher', 'null'] },
    ],
  ])('%j is %j', (field, head) => {
    const heads = headsOf(object({ other: label, field }, { $defs: { label } }));
    expect(heads[0]).toMatchObject({ name: 'field', ...head });
    expect(heads).toHaveLength(2);
  });

  test('that can be left out, or is in an object that can, can be absent', () => {
    const inner = object({
      label,
      fixed: { const: 1 },
      many: { type: 'array', items: label, minItems: 1 },
      span: copied,
    });
    const heads = headsOf({ ...object({ guest: inner, label }), required: ['label'] });
    expect(heads).toMatchObject([
      { name: 'guest', values: ['{}', ''] },
      { name: 'guest.label', values: ['"a"', '"b"', ''] },
      { name: 'guest.many', kind: 'tags', minItems: 0 },
      { name: 'guest.span', absent: '' },
      { name: 'label', values: ['"a"', '"b"'] },
    ]);
  });

  test('has its place whatever the order in which the schema was written', () => {
    const [one, other] = [object({ b: label, a: copied }), object({ a: copied, b: label })];
    expect(headsOf(one)).toEqual(headsOf(other));
  });

  test('that is the only one, an enum of strings, is the label of the answer', () => {
    expect(outputPlan(object({ label })).single).toEqual({ field: 'label', labels: ['a', 'b'] });
    for (const more of [{ label, other: copied }, { label: { type: 'boolean' } }, { label: { enum: ['a', null] } }]) {
      expect(outputPlan(object(more)).single).toBeUndefined();
    }
    expect(outputPlan({ ...object({ label }), required: [] }).single).toBeUndefined();
  });
});

const many = Array.from({ length: 10_000 }, (_, index) => `label ${index}`);
const node = { type: ['object', 'null'], properties: { next: { $ref: '#/$defs/node' } }, additionalProperties: false };

describe('a schema is refused, with its place and a way out:', () => {
  test.each<[unknown, string]>([
    [object({ a: { enum: many } }), 'properties.a.enum: expected at most 1000 labels, got 10000'],
    [object({ a: { type: 'array', items: { enum: many } } }), 'properties.a.items.enum: expected at most 1000 labels'],
    [
      object({ a: { $ref: '#/$defs/node' } }, { $defs: { node } }),
      '$defs.node.properties.next.$ref: expected references without loops, got #/$defs/node → #/$defs/node',
    ],
    [object({ a: { $ref: '#' } }), 'properties.a.$ref: expected a schema without loops'],
    [object({ a: { $ref: '#/$defs/none' } }), 'properties.a.$ref: expected a definition in $defs'],
    [object({ a: { $ref: 'http://h/s.json' } }), "properties.a.$ref: expected a reference to this schema's own $defs"],
    [object({ a: { oneOf: [label] } }), 'properties.a.oneOf: unsupported JSON Schema keyword oneOf'],
    [object({ a: { allOf: [label] } }), 'properties.a.allOf: unsupported JSON Schema keyword allOf'],
    [
      object({ a: { anyOf: [label, { type: 'boolean' }] } }),
      'properties.a.anyOf: expected one schema and {type: "null"}',
    ],
    [
      object({ a: { type: 'integer', minimum: 2, maximum: 1 } }),
      'properties.a.minimum: expected at most the maximum, 1, got 2',
    ],
    [
      object({ a: { type: 'number', minimum: 0 } }),
      'properties.a: expected a number with minimum and maximum, got no maximum',
    ],
    [
      object({ a: { type: 'integer', minimum: 0, maximum: 5000 } }),
      'properties.a.x-tolerance: expected at most 1000 steps',
    ],
    [
      object({ a: { type: 'number', minimum: 0, maximum: 1, 'x-tolerance': 1 } }),
      'properties.a.x-tolerance: expected a number of more than 0 and less than the range, 1',
    ],
    [
      object({ a: { const: 'c', enum: ['a', 'b'] } }),
      'properties.a.const: expected one of the values of enum, got "c"',
    ],
    [object({ a: { type: 'string', enum: ['a', 1] } }), 'properties.a.enum.1: expected a value of type string, got 1'],
    [
      object({ a: { type: 'string', enum: ['a', null] } }),
      'properties.a.enum.1: expected a value of type string, got null',
    ],
    [object({ a: { enum: ['a', ['b']] } }), 'properties.a.enum.1: expected a string, number, boolean or null'],
    [object({ a: { enum: [] } }), 'properties.a.enum: expected a list of values'],
    [
      object({ a: { type: 'array', items: label, minItems: 3 } }),
      'properties.a.minItems: expected at most the number of labels, 2, got 3',
    ],
    [
      object({ a: { type: 'array', items: label, minItems: 2 } }),
      'properties.a.minItems: expected uniqueItems: true beside minItems 2',
    ],
    [
      object({ a: { type: 'array', items: label, minItems: 2, maxItems: 1 } }),
      'properties.a.minItems: expected at most maxItems, 1, got 2',
    ],
    [
      object({ a: { type: 'array', items: { type: 'string' } } }),
      'properties.a.items: expected a list of an enum, or of strings with x-copied-from',
    ],
    [object({ a: label }, { required: ['a', 'b'] }), 'required.1: expected one of the properties (a), got "b"'],
    [object({ a: label }, { additionalProperties: true }), 'additionalProperties: expected false'],
    [object({ a: { const: 'a' } }), 'properties: expected at least one field with two possible values'],
    [object({}), 'properties: expected at least one field'],
    [object({ 'a.b': label }), 'properties.a.b: expected a field name'],
    [
      object({ a: { type: 'string' } }),
      'properties.a: free text cannot be distilled: give it an enum, or mark it x-copied-from: <input field> where it is copied from the input, or leave it to the teacher with x-left-to: teacher and make it nullable',
    ],
    [
      object({ a: { type: 'string', 'x-left-to': 'teacher' } }),
      'properties.a.x-left-to: expected a field that can be null or left out, got a required one',
    ],
    [
      object({ a: { type: ['string', 'null'], 'x-left-to': 'me' } }),
      'properties.a.x-left-to: expected teacher, got "me"',
    ],
    [
      object({ a: { type: 'string', nullable: true, enum: ['a', 'b'] } }),
      'properties.a.nullable: unsupported JSON Schema keyword nullable of a choice',
    ],
    [
      object({ a: { ...copied, pattern: '^a' } }),
      'properties.a.pattern: unsupported JSON Schema keyword pattern of copied text',
    ],
    [object({ a: { type: ['string', 'integer'] } }), 'properties.a.type: expected one type'],
    [object({ a: { type: 'text' } }), 'properties.a.type: expected one of string, number'],
    [object({ a: 'string' }), 'properties.a: expected a JSON Schema, got "string"'],
    [
      object(Object.fromEntries(many.slice(0, 101).map((_, index) => [`f${index}`, label]))),
      'properties: expected at most 100 fields to decide, got 101',
    ],
    [label, 'type: expected "object"'],
    [null, 'schema: expected a JSON Schema'],
  ])('%#', (schema, expected) => {
    const result = compileSchema(schema);
    const faults = result.ok
      ? []
      : result.faults.map(({ path, message }) => `${path.join('.') || 'schema'}: ${message}`);
    expect(faults.join('\n')).toContain(expected);
  });

  test('every free text by its own name', () => {
    const result = compileSchema(object({ a: { type: 'string' }, b: label, c: object({ d: { type: 'string' } }) }));
    const places = result.ok ? [] : result.faults.map(({ path }) => path.join('.'));
    expect(places).toEqual(['properties.a', 'properties.c.properties.d']);
  });
});

test('a schema whose references double with every level is refused at once', () => {
  const level = (next: number) => ({ ...object({ a: { $ref: `#/$defs/l${next}` }, b: { $ref: `#/$defs/l${next}` } }) });
  const $defs: Record<string, unknown> = Object.fromEntries(
    Array.from({ length: 15 }, (_, i) => [`l${i}`, level(i + 1)]),
  );
  for (const leaf of [{ const: 1 }, label, { type: 'string' }, 'none']) {
    const result = compileSchema({ ...level(0), $defs: { ...$defs, l15: leaf } });
    expect(result.ok ? 0 : result.faults.length).toBeLessThanOrEqual(51);
    expect(result.ok).toBe(false);
  }
});
