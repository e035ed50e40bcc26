/** JSON Schema compiled to heads, and to the tree that says where in an answer each stands. */
import type { Json } from '../canonical.ts';
import { MAX_HEADS } from '../limits.ts';
import { type Head, LEFT_OUT, PRESENT } from './head.ts';
import {
  fault,
  isObject,
  type JsonObject,
  onlyKeywords,
  type SchemaFault,
  type SchemaReader,
  shown,
  type View,
  viewOf,
} from './json-schema.ts';
import { leafOf } from './leaves.ts';

export interface Field {
  readonly key: string;
  readonly required: boolean;
  readonly nullable: boolean;
  readonly node: Node;
}

export type Node =
  /** The only value that the schema allows. */
  | { readonly kind: 'fixed'; readonly value: Json }
  /** `presence`: the head that says whether it is there, where it can be absent. */
  | { readonly kind: 'object'; readonly fields: readonly Field[]; readonly presence: number | undefined }
  /** `minItems` of a list that is there. */
  | { readonly kind: 'leaf'; readonly head: number; readonly minItems: number };

export interface CompiledSchema {
  readonly root: Node & { kind: 'object' };
  readonly heads: readonly Head[];
  /** Which input field each span is copied from. */
  readonly copied: readonly { path: readonly PropertyKey[]; from: string }[];
}

/** What is being compiled, and what is known of the place. */
export interface Scope extends SchemaReader {
  readonly heads: Head[];
  readonly copied: { path: readonly PropertyKey[]; from: string }[];
}

/** A place in the answer. */
export interface Place {
  readonly name: string;
  readonly required: boolean;
  readonly nullable: boolean;
  /** Whether an object around it can be absent, and so this too. */
  readonly absentAround: boolean;
}

const FIELD_NAME = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;
const ROOT: Place = { name: '', required: true, nullable: false, absentAround: false };

/**
 * Compiles an output schema. Fields are taken in the order of their names, whatever the order they were written in,
 * because a task that has travelled has sorted keys.
 * @returns every fault found instead, where there is one
 */
export function compileSchema(
  schema: unknown,
): { ok: true; compiled: CompiledSchema } | { ok: false; faults: SchemaFault[] } {
  const scope: Scope = { root: isObject(schema) ? schema : {}, faults: [], visited: 0, heads: [], copied: [] };
  const view = viewOf(scope, schema, [], []);
  if (view && (view.type !== 'object' || view.nullable)) {
    fault(scope, ['type'], `expected "object": an answer is one JSON object, got ${shown(view.schema.type)}`);
  } else if (view) {
    const root = objectNode(scope, view, ROOT);
    if (scope.faults.length === 0 && scope.heads.length === 0) {
      fault(
        scope,
        ['properties'],
        'expected at least one field with two possible values: with one there is nothing to decide',
      );
    }
    if (scope.heads.length > MAX_HEADS) {
      fault(scope, ['properties'], `expected at most ${MAX_HEADS} fields to decide, got ${scope.heads.length}`);
    }
    if (root && scope.faults.length === 0)
      return { ok: true, compiled: { root, heads: scope.heads, copied: scope.copied } };
  }
  return { ok: false, faults: scope.faults };
}

/** Adds a head; gives its index. */
export function addHead(scope: Scope, head: Head): number {
  return scope.heads.push(head) - 1;
}

function objectNode(scope: Scope, view: View, place: Place): (Node & { kind: 'object' }) | undefined {
  onlyKeywords(scope, view, 'an object', ['properties', 'required', 'additionalProperties']);
  const { schema, path } = view;
  if (schema.additionalProperties !== false) {
    const message = `expected false: a field that the schema does not name cannot be learned; got ${shown(schema.additionalProperties)}`;
    fault(scope, [...path, 'additionalProperties'], message);
  }
  const properties = schema.properties ?? {};
  if (!isObject(properties) || Object.keys(properties).length === 0) {
    return fault(scope, [...path, 'properties'], `expected at least one field, got ${shown(properties)}`);
  }
  const required = requiredOf(scope, view, properties);
  const canBeAbsent = !place.required || place.nullable;
  const values = [PRESENT, ...(place.nullable ? ['null'] : [])];
  if (!place.required || place.absentAround) values.push(LEFT_OUT);
  const presence = canBeAbsent ? addHead(scope, { kind: 'choice', name: place.name, values }) : undefined;
  const fields: Field[] = [];
  for (const key of Object.keys(properties).toSorted()) {
    const field = fieldOf(scope, key, properties[key], view, {
      name: place.name === '' ? key : `${place.name}.${key}`,
      required: required.has(key),
      nullable: false,
      absentAround: place.absentAround || canBeAbsent,
    });
    if (field) fields.push(field);
  }
  return { kind: 'object', fields, presence };
}

function requiredOf(scope: Scope, { schema, path }: View, properties: JsonObject): ReadonlySet<string> {
  const required = schema.required ?? [];
  const at = [...path, 'required'];
  if (!Array.isArray(required)) {
    fault(scope, at, `expected a list of field names, got ${shown(required)}`);
    return new Set();
  }
  const known = Object.keys(properties);
  required.forEach((key, index) => {
    if (typeof key === 'string' && known.includes(key)) return;
    fault(scope, [...at, index], `expected one of the properties (${known.join(', ')}), got ${shown(key)}; correct it`);
  });
  return new Set(required.map(String));
}

function fieldOf(scope: Scope, key: string, given: Json | undefined, parent: View, place: Place): Field | undefined {
  const path = [...parent.path, 'properties', key];
  if (!FIELD_NAME.test(key)) {
    const message = 'expected a field name of letters, digits, - and _, starting with a letter, at most 64 characters';
    return fault(scope, path, message);
  }
  const view = viewOf(scope, given, path, parent.refs);
  if (!view) return undefined;
  const here: Place = { ...place, nullable: view.nullable };
  const isPlainObject =
    view.type === 'object' && !('x-left-to' in view.schema) && !('enum' in view.schema || 'const' in view.schema);
  const node = isPlainObject ? objectNode(scope, view, here) : leafOf(scope, view, here);
  return node && { key, required: place.required, nullable: view.nullable, node };
}
