import type { GoodRecord } from './source.ts';

export interface FieldOptions {
  fields?: Readonly<Record<string, string>> | undefined;
  reference?: { field: string; map?: Readonly<Record<string, string>> | undefined } | undefined;
}

/** Takes the task's fields and the reference out of a record with names of its own. Absent fields stay absent. */
export function fieldPicker(
  options: FieldOptions,
  inputFields: readonly string[],
): (record: Readonly<Record<string, unknown>>) => Pick<GoodRecord, 'input' | 'reference'> {
  const names = inputFields.map((field) => [field, nameInSource(options, field)] as const);
  const { reference } = options;
  return (record) => {
    const input: Record<string, unknown> = {};
    for (const [field, name] of names) if (Object.hasOwn(record, name)) input[field] = record[name];
    if (reference === undefined || !Object.hasOwn(record, reference.field)) return { input };
    return { input, reference: mapReference(record[reference.field], reference.map) };
  };
}

/** What a source calls a field of the task. */
export function nameInSource(options: FieldOptions, field: string): string {
  return options.fields?.[field] ?? field;
}

/** With a map, values that it leaves out are no reference; without one, the value itself is. */
export function mapReference(value: unknown, map: Readonly<Record<string, string>> | undefined): unknown {
  if (map === undefined || value === null || typeof value === 'object') return value;
  const key = String(value);
  return Object.hasOwn(map, key) ? map[key] : undefined;
}
