import { z } from 'zod';
import { compileSchema } from './compile.ts';

/** A JSON Schema that a student can learn to answer: README.md lists what is supported. Every fault is told with its key path. */
export const OutputJsonSchema = z.record(z.string(), z.unknown()).superRefine((schema, context) => {
  const result = compileSchema(schema);
  if (result.ok) return;
  for (const { path, message } of result.faults) {
    context.addIssue({ code: 'custom', path: [...path], message, params: { complete: true } });
  }
});

export type OutputJsonSchema = z.infer<typeof OutputJsonSchema>;

/** Keywords of our own that say nothing about which answers are valid, beside the one that does. */
const JUDGING = ['x-tolerance', 'x-left-to'] as const;
const COPYING = 'x-copied-from';

/** The schema without our own keywords, for teachers' servers: some refuse what they don't know. */
export function plainSchema(schema: OutputJsonSchema): OutputJsonSchema {
  return without(schema, new Set<string>([...JUDGING, COPYING])) as OutputJsonSchema;
}

/** The part of a schema that shapes answers: changing the rest, a tolerance say, leaves what a teacher said as it is. */
export function shapingSchema(schema: OutputJsonSchema): OutputJsonSchema {
  return without(schema, new Set<string>(JUDGING)) as OutputJsonSchema;
}

function without(value: unknown, keywords: ReadonlySet<string>): unknown {
  if (Array.isArray(value)) return value.map((item) => without(item, keywords));
  if (value === null || typeof value !== 'object') return value;
  const kept = Object.entries(value).filter(([key]) => !keywords.has(key));
  return Object.fromEntries(kept.map(([key, inner]) => [key, without(inner, keywords)]));
}
