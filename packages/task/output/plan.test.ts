import { Ajv } from 'ajv';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalJson, type Json } from '../canonical.ts';
import { compileSchema } from './compile.ts';
import type { HeadValue } from './head.ts';
import { outputPlan } from './plan.ts';
import { anyValues, schemas, TEXT } from './random-schemas.ts';

const validator = (schema: object) => new Ajv({ strict: false, ownProperties: true }).compile(schema);
const object = (properties: Record<string, unknown>, required = Object.keys(properties)) => ({
  type: 'object',
  properties,
  required,
  additionalProperties: false,
});
const decided = ({ schema }: { schema: object }) => {
  const result = compileSchema(schema);
  // The one fault that random schemas have: a single possible answer.
  return result.ok || !/nothing to decide/.test(result.faults.map(({ message }) => message).join());
};
const supported = schemas.filter(decided);

describe('any supported schema', () => {
  test('gives back an answer that agrees with the one encoded, and validates', () => {
    const cases = supported.chain(({ schema, value }) =>
      fc.tuple(fc.constant(schema), fc.array(value, { minLength: 5, maxLength: 5 })),
    );
    let encoded = 0;
    fc.assert(
      fc.property(cases, ([schema, answers]) => {
        const plan = outputPlan(schema);
        const validate = validator(schema);
        for (const answer of answers) {
          expect(validate(answer)).toBe(true);
          const json = canonicalJson(answer);
          const values = plan.encode(json, TEXT);
          if (!values.ok) {
            expect(values.reason).toBe('spans-overlap');
            continue;
          }
          encoded += 1;
          const decoded = plan.decode(values.values, TEXT) as string;
          expect(validate(JSON.parse(decoded))).toBe(true);
          expect(plan.agreement(decoded, json)).toEqual({ whole: true, heads: expect.anything() });
          expect(canonicalJson(JSON.parse(decoded))).toBe(decoded);
        }
      }),
      { numRuns: 60 },
    );
    expect(encoded).toBeGreaterThan(200);
  });

  test('gives only valid answers, whatever the heads say', () => {
    const cases = supported.chain(({ schema }) =>
      fc.tuple(fc.constant(schema), fc.array(anyValues(outputPlan(schema).heads), { minLength: 8, maxLength: 8 })),
    );
    let answered = 0;
    fc.assert(
      fc.property(cases, ([schema, said]) => {
        const plan = outputPlan(schema);
        const validate = validator(schema);
        for (const values of said) {
          const decoded = plan.decode(values, TEXT);
          if (decoded === undefined) continue;
          answered += 1;
          if (!validate(JSON.parse(decoded))) throw new Error(`${decoded}: ${JSON.stringify(validate.errors)}`);
        }
      }),
      { numRuns: 60 },
    );
    expect(answered).toBeGreaterThan(100);
  });

  test('has heads of distinct names, and two different answers agree only where all heads do', () => {
    const cases = supported.chain(({ schema, value }) => fc.tuple(fc.constant(schema), value, value));
    fc.assert(
      fc.property(cases, ([schema, one, other]) => {
        const plan = outputPlan(schema);
        expect(new Set(plan.heads.map(({ name }) => name)).size).toBe(plan.heads.length);
        const { whole, heads } = plan.agreement(canonicalJson(one), canonicalJson(other));
        expect(whole).toBe(!Object.values(heads).includes(false));
        expect(plan.agreement(canonicalJson(other), canonicalJson(one))).toEqual({ whole, heads });
      }),
      { numRuns: 60 },
    );
  });
});

describe('what agrees', () => {
  const plan = outputPlan(
    object(
      {
        tags: { type: 'array', items: { enum: ['x', 'y', 'z'] } },
        name: { type: 'string', 'x-copied-from': 'text' },
        score: { type: 'number', minimum: 0, maximum: 1 },
        rooms: { type: ['integer', 'null'], minimum: 1, maximum: 9 },
        note: { type: ['string', 'null'], 'x-left-to': 'teacher' },
      },
      ['name', 'note'],
    ),
  );
  const base = { name: 'Ann', note: null, rooms: 2, score: 0.5, tags: ['x', 'y'] };
  const heads = (change: Record<string, Json | undefined>) => {
    const { heads, whole } = plan.agreement(canonicalJson({ ...base, ...change }), canonicalJson(base));
    expect(whole).toBe(!Object.values(heads).includes(false));
    return Object.entries(heads).flatMap(([name, agrees]) => (agrees ? [] : [name]));
  };
  test.each([
    [{ tags: ['y', 'x', 'y'] }, []],
    [{ tags: ['y'] }, ['tags']],
    [{ name: ' Ann ' }, []],
    [{ name: 'ann' }, ['name']],
    [{ score: 0.55 }, []],
    [{ score: 0.45 }, []],
    [{ score: 0.5501 }, ['score']],
    [{ score: undefined, rooms: null }, ['rooms', 'score']],
    [{ rooms: 3 }, ['rooms']],
    [{ note: 'hello' }, ['note']],
    [{ tags: undefined, name: 'Bo' }, ['name', 'tags']],
  ])('%j disagrees in %j', (change, expected) => expect(heads(change)).toEqual(expected));

  test('asserts nothing where it is absent', () => {
    expect(plan.items(canonicalJson(base))).toEqual({
      name: ['Ann'],
      note: [],
      rooms: ['2'],
      score: ['0.5'],
      tags: ['"x"', '"y"'],
    });
    expect(plan.items('{"name":"Ann","note":"said"}')).toMatchObject({ note: ['teacher'], rooms: [], tags: [] });
  });

  test('is left to the teacher where a field needs it', () => {
    const index = plan.heads.findIndex(({ name }) => name === 'note');
    const encoded = plan.encode(canonicalJson({ ...base, note: 'hello' }), 'Ann says hello');
    if (!encoded.ok) throw new Error(encoded.message);
    expect(encoded.values[index]).toEqual({ kind: 'choice', index: 0 });
    expect(plan.decode(encoded.values, 'Ann says hello')).toBeUndefined();
  });
});

describe('a span', () => {
  const plan = outputPlan(object({ names: { type: 'array', items: { type: 'string', 'x-copied-from': 'text' } } }));
  const spans = (names: string[], text: string) => {
    const encoded = plan.encode(canonicalJson({ names }), text);
    return encoded.ok ? (encoded.values[0] as HeadValue & { kind: 'span' }).spans : encoded.reason;
  };
  test.each([
    [['Ann'], 'Anna and Ann', [[9, 12]]],
    [['Ann'], 'Joanna: ANN', 'span-not-in-text'],
    [['nn'], 'Anna', [[1, 3]]],
    [
      ['York', 'New York'],
      'New York, York',
      [
        [0, 8],
        [10, 14],
      ],
    ],
    [['York', 'New York'], 'New York', 'spans-overlap'],
    [
      ['b', 'a', 'a'],
      'a b',
      [
        [0, 1],
        [2, 3],
      ],
    ],
    [[''], 'a', 'empty-span'],
    [[' a '], 'b a', [[2, 3]]],
    [[], 'a', []],
  ])('%j in %j is at %j', (names, text, expected) => expect(spans(names, text)).toEqual(expected));
});
