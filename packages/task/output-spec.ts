import { z } from 'zod';
import { MAX_LABELS } from './limits.ts';

/** The supported part of JSON Schema: one object with exactly one required field, an enum of strings. */
export interface OutputSpec {
  /** Name of the one field. */
  field: string;
  /** Its values in the schema's order; a label's index here is its class index everywhere. */
  labels: readonly string[];
}

const SUPPORTED =
  'supported is an object with exactly one required field, an enum of strings, and additionalProperties: false';

const FieldSchema = z.strictObject(
  {
    type: z.literal('string').optional(),
    title: z.string().optional(),
    description: z.string().optional(),
    enum: z
      .array(z.string().min(1, 'expected a label that is not empty'), {
        error: `expected a list of strings, e.g. [ham, spam]; ${SUPPORTED}`,
      })
      .min(2, 'expected at least two labels: with one there is nothing to decide')
      .max(MAX_LABELS, `expected at most ${MAX_LABELS} labels`)
      .refine((labels) => new Set(labels).size === labels.length, 'expected distinct labels; remove the repeated one'),
  },
  { error: refuseKeyword },
);

export const OutputJsonSchema = z
  .strictObject(
    {
      $schema: z.string().optional(),
      title: z.string().optional(),
      description: z.string().optional(),
      type: z.literal('object', { error: `expected "object"; ${SUPPORTED}` }),
      properties: z.record(
        z.string().regex(/^[A-Za-z][A-Za-z0-9_]{0,63}$/, {
          error: 'expected a field name of letters, digits and _, starting with a letter, at most 64 characters',
        }),
        FieldSchema,
      ),
      required: z.array(z.string()),
      additionalProperties: z.literal(false, { error: `expected false (no field beside the enum); ${SUPPORTED}` }),
    },
    { error: refuseKeyword },
  )
  .superRefine((schema, context) => {
    const fields = Object.keys(schema.properties);
    const [field] = fields;
    if (fields.length !== 1 || field === undefined) {
      context.addIssue({
        code: 'custom',
        path: ['properties'],
        message: `expected exactly one field, got ${fields.length === 0 ? 'none' : fields.join(', ')}; ${SUPPORTED}`,
      });
    } else if (schema.required.length !== 1 || schema.required[0] !== field) {
      context.addIssue({
        code: 'custom',
        path: ['required'],
        message: `expected [${field}], got [${schema.required.join(', ')}]; ${SUPPORTED}`,
      });
    }
  });

export type OutputJsonSchema = z.infer<typeof OutputJsonSchema>;

/** The field and labels of a schema that has passed `OutputJsonSchema`. */
export function outputSpec(schema: OutputJsonSchema): OutputSpec {
  const entry = Object.entries(schema.properties)[0];
  if (entry === undefined) throw new TypeError(`output schema has no field; ${SUPPORTED}`);
  return { field: entry[0], labels: entry[1].enum };
}

function refuseKeyword(issue: { code?: string; keys?: unknown }): string | undefined {
  if (issue.code !== 'unrecognized_keys' || !Array.isArray(issue.keys)) return undefined;
  return `unsupported JSON Schema keyword ${issue.keys.join(', ')}; ${SUPPORTED}`;
}
