/** For tests: random output schemas that are supported, with random valid answers of each. */
import fc from 'fast-check';
import type { Json } from '../canonical.ts';
import type { Head, HeadValue } from './head.ts';

const WORDS = ['ann', 'lee', 'two', 'nights', 'from', 'monday', 'über', 'été', '北京', 'a', 'of', 'x-1', '😀'];
/** Every span of the answers is in it. */
export const TEXT = `please: ${WORDS.join(' ')}!`;

interface Made {
  schema: { [key: string]: Json };
  value: fc.Arbitrary<Json>;
}

const scalar: fc.Arbitrary<Json> = fc.oneof(
  fc.string({ minLength: 1, maxLength: 6 }),
  fc.constantFrom('{}', 'teacher', 'null', '"', 'Toronto', 'toString'),
  fc.integer({ min: -5, max: 5 }),
  fc.boolean(),
);
const values = (minLength: number) =>
  fc.uniqueArray(scalar, { minLength, maxLength: 5, selector: (value) => JSON.stringify(value) });

const enumField = values(1).map((given): Made => ({ schema: { enum: given }, value: fc.constantFrom(...given) }));
const constField = scalar.map((given): Made => ({ schema: { const: given }, value: fc.constant(given) }));
const booleanField = fc.constant<Made>({ schema: { type: 'boolean' }, value: fc.boolean() });
const integerField = fc
  .tuple(fc.integer({ min: -50, max: 50 }), fc.integer({ min: 1, max: 60 }), fc.integer({ min: 0, max: 4 }))
  .map(([minimum, range, wanted]): Made => {
    const schema = { type: 'integer', minimum, maximum: minimum + range, 'x-tolerance': Math.min(wanted, range - 1) };
    return { schema, value: fc.integer({ min: minimum, max: minimum + range }) };
  });
const numberField = fc
  .tuple(fc.integer({ min: -9, max: 9 }), fc.integer({ min: 1, max: 30 }))
  .map(([tenths, range]): Made => {
    const [minimum, maximum] = [tenths / 10, (tenths + range) / 10];
    const within = fc.double({ min: minimum, max: maximum, noNaN: true }).map((value) => (value === 0 ? 0 : value));
    return { schema: { type: 'number', minimum, maximum }, value: within };
  });
const spanField = fc.constant<Made>({
  schema: { type: 'string', 'x-copied-from': 'text' },
  value: fc.constantFrom(...WORDS, 'two nights', 'monday über'),
});
const spansField = fc.integer({ min: 0, max: 2 }).map(
  (minItems): Made => ({
    schema: {
      type: 'array',
      items: { type: 'string', 'x-copied-from': 'text' },
      uniqueItems: true,
      minItems,
      maxItems: 4,
    },
    value: fc.uniqueArray(fc.constantFrom(...WORDS.filter((word) => word.length > 2)), {
      minLength: minItems,
      maxLength: 4,
    }),
  }),
);
const tagsField = fc.tuple(values(1), fc.nat(5), fc.nat(5)).map(([labels, one, other]): Made => {
  const [least, most] = [Math.min(one, labels.length), Math.max(1, Math.min(labels.length, Math.max(one, other)))];
  const bounds = { minItems: least, maxItems: most };
  return {
    schema: { type: 'array', items: { enum: labels }, uniqueItems: true, ...bounds },
    value: fc.uniqueArray(fc.constantFrom(...labels), {
      minLength: least,
      maxLength: most,
      selector: (value) => JSON.stringify(value),
    }),
  };
});
const leaf = fc.oneof(enumField, constField, booleanField, integerField, numberField, spanField, spansField, tagsField);

function orNull({ schema, value }: Made, how: 'no' | 'anyOf' | 'type'): Made {
  if (how === 'no') return { schema, value };
  const either = fc.option(value, { nil: null });
  if (how === 'type' && typeof schema.type === 'string')
    return { schema: { ...schema, type: [schema.type, 'null'] }, value: either };
  return { schema: { anyOf: [schema, { type: 'null' }] }, value: either };
}

function objectOf(depth: number): fc.Arbitrary<Made> {
  const inner =
    depth === 0 ? leaf : fc.oneof({ weight: 3, arbitrary: leaf }, { weight: 1, arbitrary: objectOf(depth - 1) });
  const field = fc.record({ made: inner, null: fc.constantFrom('no', 'no', 'anyOf', 'type'), required: fc.boolean() });
  return fc.dictionary(fc.constantFrom('a', 'b', 'c', 'constructor'), field, { minKeys: 1 }).map((fields): Made => {
    const made = Object.entries(fields).map(([key, given]) => ({
      key,
      ...orNull(given.made, given.null),
      required: given.required,
    }));
    const required = made.filter((one) => one.required).map(({ key }) => key);
    return {
      schema: {
        type: 'object',
        properties: Object.fromEntries(made.map(({ key, schema }) => [key, schema])),
        required,
        additionalProperties: false,
      },
      value: fc.record(Object.fromEntries(made.map(({ key, value }) => [key, value])), {
        requiredKeys: required as never,
      }),
    };
  });
}

/** A schema and a generator of valid answers. */
export const schemas: fc.Arbitrary<Made> = objectOf(2);

/** Any values at all that heads could say, sensible or not. */
export function anyValues(heads: readonly Head[]): fc.Arbitrary<HeadValue[]> {
  return fc.tuple(...heads.map(anyValue));
}

function anyValue(head: Head): fc.Arbitrary<HeadValue> {
  switch (head.kind) {
    case 'choice':
      return fc.nat(head.values.length - 1).map((index) => ({ kind: 'choice', index }));
    case 'tags':
      return fc.array(fc.nat(head.labels.length - 1), { maxLength: 4 }).map((indices) => ({ kind: 'tags', indices }));
    case 'number':
      return fc.option(fc.double(), { nil: undefined }).map((value) => ({ kind: 'number', value }));
    case 'span': {
      const offset = fc.nat(TEXT.length);
      return fc.array(fc.tuple(offset, offset), { maxLength: 3 }).map((spans) => ({ kind: 'span', spans }));
    }
  }
}
