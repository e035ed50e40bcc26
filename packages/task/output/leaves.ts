/** The leaves of an output schema: what each kind of field becomes. */
import { canonicalJson, type Json } from '../canonical.ts';
import { MAX_LABELS } from '../limits.ts';
import { addHead, type Node, type Place, type Scope } from './compile.ts';
import { LEFT_OUT, LEFT_TO_TEACHER } from './head.ts';
import { fault, onlyKeywords, shown, type View, viewOf } from './json-schema.ts';

/** Of numbers between 0 and 1: within 0.05. Teachers that score rarely use finer steps, and repeat themselves no better. */
const DEFAULT_TOLERANCE_SHARE = 1 / 20;

const WAYS_OUT =
  'give it an enum, or mark it x-copied-from: <input field> where it is copied from the input, or leave it to the teacher with x-left-to: teacher';

export function leafOf(scope: Scope, view: View, place: Place): Node | undefined {
  const { schema, type } = view;
  if ('x-left-to' in schema) return leftToTeacher(scope, view, place);
  if ('enum' in schema || 'const' in schema) return enumLeaf(scope, view, place);
  if (type === 'boolean') return choice(scope, view, place, [false, true, ...(view.nullable ? [null] : [])], []);
  if (type === 'null') return choice(scope, view, place, [null], []);
  if (type === 'integer' || type === 'number') return numberLeaf(scope, view, place);
  if (type === 'array') return arrayLeaf(scope, view, place);
  if (type === 'string' && 'x-copied-from' in schema) return spanLeaf(scope, view, place);
  const what = type === 'string' ? 'free text' : 'a field without type, enum or const';
  return fault(scope, view.path, `${what} cannot be distilled: ${WAYS_OUT}${neededAdvice(view, place)}`);
}

const neededAdvice = ({ nullable }: View, { required, absentAround }: Place): string =>
  required && !nullable && !absentAround
    ? ' and make it nullable or take it out of required (as it is, every call would need the teacher)'
    : '';

/** Only whether the field is there is decided; what it says, when it does, only the teacher knows. */
function leftToTeacher(scope: Scope, view: View, place: Place): Node | undefined {
  const { schema, path, nullable } = view;
  const at = [...path, 'x-left-to'];
  if (schema['x-left-to'] !== 'teacher') {
    return fault(scope, at, `expected teacher, got ${shown(schema['x-left-to'])}; correct it`);
  }
  if (place.required && !nullable && !place.absentAround) {
    const message =
      'expected a field that can be null or left out, got a required one: every call would need the teacher; take it out of required or allow null';
    return fault(scope, at, message);
  }
  const values = [LEFT_TO_TEACHER, ...(nullable ? ['null'] : []), ...leftOut(place)];
  return { kind: 'leaf', head: addHead(scope, { kind: 'choice', name: place.name, values }), minItems: 0 };
}

function enumLeaf(scope: Scope, view: View, place: Place): Node | undefined {
  const values = enumValues(scope, view);
  if (!values) return undefined;
  const withNull = view.orNull && !values.includes(null) ? [...values, null] : values;
  return choice(scope, view, place, withNull, ['enum', 'const']);
}

function choice(
  scope: Scope,
  view: View,
  place: Place,
  given: readonly Json[],
  keywords: readonly string[],
): Node | undefined {
  if (!onlyKeywords(scope, view, 'a choice', keywords)) return undefined;
  const [only] = given;
  if (given.length === 1 && place.required) return { kind: 'fixed', value: only as Json };
  const values = [...given.map(canonicalJson), ...leftOut(place)];
  return { kind: 'leaf', head: addHead(scope, { kind: 'choice', name: place.name, values }), minItems: 0 };
}

const leftOut = ({ required, absentAround }: Place): string[] => (required && !absentAround ? [] : [LEFT_OUT]);

/** Values of `enum`, `const` or both; undefined where they are at fault. */
function enumValues(scope: Scope, view: View): readonly Json[] | undefined {
  const { schema, path } = view;
  if (!('enum' in schema)) return checkedValues(scope, view, [schema.const as Json], 'const');
  const { enum: given } = schema;
  if (!Array.isArray(given) || given.length === 0) {
    return fault(scope, [...path, 'enum'], `expected a list of values, e.g. [ham, spam], got ${shown(given)}`);
  }
  if (given.length > MAX_LABELS) {
    const message = `expected at most ${MAX_LABELS} labels, got ${given.length}: beyond it the job is retrieval; group them`;
    return fault(scope, [...path, 'enum'], message);
  }
  const values = checkedValues(scope, view, given, 'enum');
  if (!values || !('const' in schema)) return values;
  const fixed = canonicalJson(schema.const);
  if (values.some((value) => canonicalJson(value) === fixed)) return [schema.const as Json];
  return fault(
    scope,
    [...path, 'const'],
    `expected one of the values of enum, got ${shown(schema.const)}; nothing would be valid`,
  );
}

function checkedValues(
  scope: Scope,
  view: View,
  values: readonly Json[],
  keyword: string,
): readonly Json[] | undefined {
  const { path, type } = view;
  const seen = new Set<string>();
  const before = scope.faults.length;
  values.forEach((value, index) => {
    const at = keyword === 'enum' ? [...path, keyword, index] : [...path, keyword];
    if (value !== null && typeof value === 'object') {
      fault(scope, at, `expected a string, number, boolean or null, got ${shown(value)}; make it a field of its own`);
    } else if (value === '') {
      fault(scope, at, 'expected a label that is not empty, got an empty string; name what it means, or allow null');
    } else if (!fitsType(value, view)) {
      fault(scope, at, `expected a value of type ${type}${view.nullable ? ' or null' : ''}, got ${shown(value)}`);
    } else if (seen.has(canonicalJson(value))) {
      fault(scope, at, `expected distinct labels, got ${shown(value)} again; remove the repeated one`);
    }
    seen.add(canonicalJson(value));
  });
  return scope.faults.length === before ? values : undefined;
}

function fitsType(value: Json, { type, nullable }: View): boolean {
  if (type === undefined) return true;
  if (value === null) return nullable || type === 'null';
  if (type === 'integer') return Number.isInteger(value);
  return typeof value === type;
}

function numberLeaf(scope: Scope, view: View, place: Place): Node | undefined {
  if (!onlyKeywords(scope, view, `a ${view.type}`, ['minimum', 'maximum', 'x-tolerance'])) return undefined;
  const integer = view.type === 'integer';
  const minimum = boundOf(scope, view, 'minimum', integer);
  const maximum = boundOf(scope, view, 'maximum', integer);
  if (minimum === undefined || maximum === undefined) return undefined;
  const { path } = view;
  if (minimum > maximum) {
    return fault(
      scope,
      [...path, 'minimum'],
      `expected at most the maximum, ${maximum}, got ${minimum}; no number is valid`,
    );
  }
  if (minimum === maximum)
    return choice(
      scope,
      view,
      place,
      [minimum, ...(view.nullable ? [null] : [])],
      ['minimum', 'maximum', 'x-tolerance'],
    );
  const tolerance = toleranceOf(scope, view, integer, maximum - minimum);
  if (tolerance === undefined) return undefined;
  const bins = binsOf(minimum, maximum, integer ? Math.max(1, Math.floor(tolerance)) : tolerance);
  if (bins === undefined) {
    const message = `expected at most ${MAX_LABELS} steps of the tolerance between ${minimum} and ${maximum}, got a tolerance of ${tolerance}; raise x-tolerance or narrow the range`;
    return fault(scope, [...path, 'x-tolerance'], message);
  }
  const absent = absentAs(view, place);
  const head = { kind: 'number', name: place.name, minimum, maximum, integer, tolerance, absent, bins } as const;
  return { kind: 'leaf', head: addHead(scope, head), minItems: 0 };
}

const absentAs = ({ nullable }: View, { required, absentAround }: Place): '' | 'null' | undefined => {
  if (!required) return LEFT_OUT;
  if (nullable) return 'null';
  return absentAround ? LEFT_OUT : undefined;
};

function boundOf(scope: Scope, { schema, path, type }: View, keyword: string, integer: boolean): number | undefined {
  const bound = schema[keyword];
  if (typeof bound === 'number' && (!integer || Number.isSafeInteger(bound))) return bound;
  if (bound === undefined) {
    return fault(
      scope,
      path,
      `expected a ${type} with minimum and maximum, got no ${keyword}: a number without bounds cannot be distilled; add it, or ${WAYS_OUT.slice(WAYS_OUT.indexOf('leave'))}`,
    );
  }
  return fault(scope, [...path, keyword], `expected ${integer ? 'a whole' : 'a'} number, got ${shown(bound)}`);
}

/** What is not stated: integers must be equal, other numbers within a twentieth of their range. */
function toleranceOf(scope: Scope, { schema, path }: View, integer: boolean, range: number): number | undefined {
  const tolerance = schema['x-tolerance'] ?? (integer ? 0 : range * DEFAULT_TOLERANCE_SHARE);
  const least = integer ? 'at least 0' : 'more than 0';
  if (typeof tolerance === 'number' && tolerance < range && (integer ? tolerance >= 0 : tolerance > 0))
    return tolerance;
  const message = `expected a number of ${least} and less than the range, ${range} (else all answers agree), got ${shown(tolerance)}`;
  return fault(scope, [...path, 'x-tolerance'], message);
}

/** Evenly spaced from end to end, no further apart than `step`; undefined where there are too many. */
function binsOf(minimum: number, maximum: number, step: number): number[] | undefined {
  // A hair more than a whole number of steps is a whole number that a division could not express.
  const steps = Math.ceil((maximum - minimum) / step - 1e-9);
  if (!(steps < MAX_LABELS)) return undefined;
  return Array.from({ length: steps + 1 }, (_, index) => minimum + ((maximum - minimum) * index) / steps);
}

function arrayLeaf(scope: Scope, view: View, place: Place): Node | undefined {
  const { schema, path, refs } = view;
  if (!onlyKeywords(scope, view, 'a list', ['items', 'uniqueItems', 'minItems', 'maxItems'])) return undefined;
  if (schema.uniqueItems !== undefined && typeof schema.uniqueItems !== 'boolean') {
    return fault(scope, [...path, 'uniqueItems'], `expected true or false, got ${shown(schema.uniqueItems)}`);
  }
  const items = viewOf(scope, schema.items, [...path, 'items'], refs);
  if (!items) return undefined;
  const absent = absentAs(view, place);
  if ('x-copied-from' in items.schema && items.type === 'string' && !items.nullable) {
    const range = itemRange(scope, view, Number.POSITIVE_INFINITY);
    if (!range || !copiedFrom(scope, items)) return undefined;
    // Beyond any input's number of words, and JSON has no infinity.
    const maxItems = Math.min(range.maxItems, MAX_LABELS);
    const head = { kind: 'span', name: place.name, many: true, absent, maxItems } as const;
    return { kind: 'leaf', head: addHead(scope, head), minItems: range.minItems };
  }
  if (!('enum' in items.schema || 'const' in items.schema)) {
    const message = `expected a list of an enum, or of strings with x-copied-from, got ${shown(items.schema)}, which cannot be distilled: leave the list to the teacher with x-left-to: teacher${neededAdvice(view, place)}`;
    return fault(scope, [...path, 'items'], message);
  }
  if (!onlyKeywords(scope, items, 'an item', ['enum', 'const'])) return undefined;
  const values = enumValues(scope, items);
  const range = values && itemRange(scope, view, values.length);
  if (!values || !range) return undefined;
  const labels = values.map(canonicalJson);
  const minItems = absent === undefined ? range.minItems : 0;
  const head = { kind: 'tags', name: place.name, labels, minItems, maxItems: range.maxItems } as const;
  return { kind: 'leaf', head: addHead(scope, head), minItems: range.minItems };
}

/** minItems and maxItems of a list that has at most `distinct` different items. */
function itemRange(
  scope: Scope,
  { schema, path }: View,
  distinct: number,
): { minItems: number; maxItems: number } | undefined {
  const { minItems = 0, maxItems = distinct } = schema;
  for (const [keyword, value] of Object.entries({ minItems, maxItems })) {
    if (typeof value === 'number' && value >= 0 && (Number.isInteger(value) || value === distinct)) continue;
    return fault(scope, [...path, keyword], `expected a whole number of at least 0, got ${shown(value)}`);
  }
  const [least, most] = [minItems as number, Math.min(maxItems as number, distinct)];
  if (least > distinct) {
    return fault(
      scope,
      [...path, 'minItems'],
      `expected at most the number of labels, ${distinct}, got ${least}: a student gives each label once`,
    );
  }
  if (least > (maxItems as number)) {
    return fault(
      scope,
      [...path, 'minItems'],
      `expected at most maxItems, ${maxItems}, got ${least}; no list is valid`,
    );
  }
  if (most === 0) return fault(scope, [...path, 'maxItems'], 'expected at least 1, got 0: there is nothing to decide');
  if (least > 1 && schema.uniqueItems !== true) {
    const message = `expected uniqueItems: true beside minItems ${least}, because a student gives each item once; add it`;
    return fault(scope, [...path, 'minItems'], message);
  }
  return { minItems: least, maxItems: most };
}

function spanLeaf(scope: Scope, view: View, place: Place): Node | undefined {
  if (!onlyKeywords(scope, view, 'copied text', ['x-copied-from']) || !copiedFrom(scope, view)) return undefined;
  const absent = absentAs(view, place);
  const head = { kind: 'span', name: place.name, many: false, absent, maxItems: 1 } as const;
  return { kind: 'leaf', head: addHead(scope, head), minItems: absent === undefined ? 1 : 0 };
}

/** Which of the task's fields there are, only the task knows: it is checked there. */
function copiedFrom(scope: Scope, view: View): boolean {
  const { schema, path } = view;
  const from = schema['x-copied-from'];
  const at = [...path, 'x-copied-from'];
  if (typeof from === 'string') {
    scope.copied.push({ path: at, from });
    return true;
  }
  fault(scope, at, `expected the name of an input field, got ${shown(from)}; correct it`);
  return false;
}
