/** Reading of JSON Schema as written: references resolved, null taken out, everything else as it stands. */
import type { Json } from '../canonical.ts';
import { MAX_SCHEMA_DEPTH, MAX_SCHEMA_FAULTS, MAX_SUBSCHEMAS } from '../limits.ts';

export type JsonObject = Readonly<Record<string, Json>>;

/** One thing that is wrong in a schema. The path starts at the schema. */
export interface SchemaFault {
  path: readonly PropertyKey[];
  message: string;
}

export interface SchemaReader {
  readonly root: JsonObject;
  readonly faults: SchemaFault[];
  /** Subschemas read so far; definitions count each time they are referred to, which can double with every level. */
  visited: number;
}

/** A subschema with its references followed. */
export interface View {
  readonly schema: JsonObject;
  /** Where it stands: of a definition, there. */
  readonly path: readonly PropertyKey[];
  /** References that led here, to find loops. */
  readonly refs: readonly string[];
  /** The type beside null; undefined where none is named. */
  readonly type: string | undefined;
  /** Whether the type allows null; an enum must name it all the same. */
  readonly nullable: boolean;
  /** Whether null is valid whatever else the schema says. */
  readonly orNull: boolean;
}

/** What a schema may say anywhere without changing which answers are valid. */
const ANNOTATIONS: ReadonlySet<string> = new Set([
  ...['$schema', '$id', '$comment', '$defs', 'definitions', 'title', 'description', 'default', 'examples'],
  ...['deprecated', 'readOnly', 'writeOnly'],
]);
const COMBINED = ['oneOf', 'allOf', 'not', 'if', 'then', 'else', 'patternProperties', 'dependentSchemas'];

export function isObject(value: unknown): value is JsonObject {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

/** Reports a fault; the result is what a reader gives where there is one. */
export function fault(reader: SchemaReader, path: readonly PropertyKey[], message: string): undefined {
  reader.faults.push({ path, message });
  return undefined;
}

/** A subschema as a `View`; undefined where it is at fault. */
export function viewOf(
  reader: SchemaReader,
  given: unknown,
  path: readonly PropertyKey[],
  refs: readonly string[],
): View | undefined {
  reader.visited += 1;
  if (reader.visited === MAX_SUBSCHEMAS + 1) {
    fault(reader, path, `expected at most ${MAX_SUBSCHEMAS} fields, references followed, got more; flatten it`);
  }
  if (reader.visited > MAX_SUBSCHEMAS || reader.faults.length >= MAX_SCHEMA_FAULTS) return undefined;
  if (!isObject(given)) return fault(reader, path, `expected a JSON Schema, got ${shown(given)}`);
  if (path.length > MAX_SCHEMA_DEPTH * 2 || refs.length > MAX_SCHEMA_DEPTH) {
    return fault(reader, path, `expected at most ${MAX_SCHEMA_DEPTH} levels of objects; flatten it`);
  }
  if ('x-left-to' in given) return unread(given, path, refs);
  for (const keyword of COMBINED) {
    if (!(keyword in given)) continue;
    const message = `unsupported JSON Schema keyword ${keyword}: write out one schema (anyOf only to allow null), or leave the field to the teacher with x-left-to: teacher`;
    return fault(reader, [...path, keyword], message);
  }
  if ('$ref' in given) return referred(reader, given, path, refs);
  if ('anyOf' in given) return nullableOf(reader, given, path, refs);
  return typed(reader, given, path, refs);
}

/** What is left to the teacher may be anything that validates; only whether it can be null matters. */
function unread(schema: JsonObject, path: readonly PropertyKey[], refs: readonly string[]): View {
  const among = [schema.type, schema.anyOf, schema.oneOf, schema.enum].flatMap((list) => list ?? []);
  const nullable = among.some((one) => one === 'null' || one === null || (isObject(one) && one.type === 'null'));
  return { schema, path, refs, type: undefined, nullable, orNull: nullable };
}

function referred(
  reader: SchemaReader,
  given: JsonObject,
  path: readonly PropertyKey[],
  refs: readonly string[],
): View | undefined {
  const at = [...path, '$ref'];
  const ref = given.$ref;
  const match = typeof ref === 'string' ? /^#\/(\$defs|definitions)\/([^/]+)$/.exec(ref) : null;
  if (ref === '#')
    return fault(reader, at, 'expected a schema without loops, got a reference to all of it; write it out');
  if (typeof ref !== 'string' || match === null) {
    return fault(reader, at, `expected a reference to this schema's own $defs, e.g. #/$defs/guest, got ${shown(ref)}`);
  }
  if (refs.includes(ref)) {
    const loop = [...refs.slice(refs.indexOf(ref)), ref].join(' → ');
    return fault(reader, at, `expected references without loops, got ${loop}; an answer could nest without end`);
  }
  const [, holder = '', escaped = ''] = match;
  const name = decodeURIComponent(escaped).replaceAll('~1', '/').replaceAll('~0', '~');
  const definitions = reader.root[holder];
  if (!isObject(definitions) || !Object.hasOwn(definitions, name)) {
    return fault(reader, at, `expected a definition in ${holder}, got ${ref}, which is none; correct it`);
  }
  const view = viewOf(reader, definitions[name], [holder, name], [...refs, ref]);
  return view && withOuter(reader, view, given, path, '$ref');
}

function nullableOf(
  reader: SchemaReader,
  given: JsonObject,
  path: readonly PropertyKey[],
  refs: readonly string[],
): View | undefined {
  const at = [...path, 'anyOf'];
  const choices = Array.isArray(given.anyOf) ? given.anyOf : [];
  const isNull = (choice: Json) => isObject(choice) && choice.type === 'null';
  const index = choices.findIndex((choice) => !isNull(choice));
  if (choices.length !== 2 || index < 0 || !choices.some(isNull)) {
    const message = `expected one schema and {type: "null"}, got ${choices.length} of which ${choices.filter(isNull).length} are null: anyOf is supported only to allow null`;
    return fault(reader, at, message);
  }
  const view = viewOf(reader, choices[index], [...at, index], refs);
  return view && withOuter(reader, { ...view, nullable: true, orNull: true }, given, path, 'anyOf');
}

/** What stands beside a reference (or anyOf) is annotation or one of our own keywords, which then holds for what it leads to. */
function withOuter(
  reader: SchemaReader,
  view: View,
  outer: JsonObject,
  path: readonly PropertyKey[],
  keyword: string,
): View | undefined {
  const own = Object.entries(outer).filter(([key]) => key !== keyword && !ANNOTATIONS.has(key));
  const strange = own.find(([key]) => !key.startsWith('x-'));
  if (strange) {
    return fault(reader, [...path, strange[0]], `unsupported beside ${keyword}; move it into what ${keyword} leads to`);
  }
  return own.length === 0 ? view : { ...view, schema: { ...view.schema, ...Object.fromEntries(own) } };
}

function typed(
  reader: SchemaReader,
  schema: JsonObject,
  path: readonly PropertyKey[],
  refs: readonly string[],
): View | undefined {
  const types = schema.type === undefined ? [] : [schema.type].flat();
  const known = ['string', 'number', 'integer', 'boolean', 'object', 'array', 'null'];
  const strange = types.find((type) => typeof type !== 'string' || !known.includes(type));
  if (strange !== undefined) {
    const nullHint = schema.nullable === true ? ' (null is a type: [string, "null"])' : '';
    return fault(reader, [...path, 'type'], `expected one of ${known.join(', ')}, got ${shown(strange)}${nullHint}`);
  }
  const beside = types.filter((type) => type !== 'null');
  if (beside.length > 1) {
    return fault(reader, [...path, 'type'], `expected one type, or one and "null", got ${beside.join(', ')}; keep one`);
  }
  const type = beside.length === 0 && types.length > 0 ? 'null' : (beside[0] as string | undefined);
  return { schema, path, refs, type, nullable: types.length > 1 && types.includes('null'), orNull: false };
}

/** Reports every keyword that is neither annotation nor one of these; true where there is none. */
export function onlyKeywords(
  reader: SchemaReader,
  { schema, path }: View,
  what: string,
  known: readonly string[],
): boolean {
  const strange = Object.keys(schema).filter((key) => key !== 'type' && !known.includes(key) && !ANNOTATIONS.has(key));
  for (const key of strange) {
    const hint = key === 'nullable' ? 'write type: [<type>, "null"] instead' : 'remove it';
    const supported = known.length === 0 ? 'no further keyword is' : `supported are ${known.join(', ')}`;
    fault(reader, [...path, key], `unsupported JSON Schema keyword ${key} of ${what}: ${supported}; ${hint}`);
  }
  return strange.length === 0;
}

export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length <= 120 ? text : `${text.slice(0, 120)}…`;
}
