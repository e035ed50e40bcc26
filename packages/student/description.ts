import { DEVICES, ENGINES } from '@understudy/graph';
import type { Head } from '@understudy/task/output/head';
import { z } from 'zod';
import { FAMILIES, TRAINED_PARTS } from './family.ts';
import { labelHead, outputName, singleOf } from './heads/layout.ts';
import { MAX_HEADS, MAX_LABELS } from './limits.ts';

const Digest = z.string().regex(/^[0-9a-f]{64}$/, 'expected a SHA-256 in lower-case hex');

const Name = z.string().min(1);
const Output = {
  /** Name of the model output with its logits. */
  output: Name,
};
const Numbers = z.array(z.number()).min(1).max(MAX_LABELS);
const Values = z.array(z.string()).min(2).max(MAX_LABELS);

/** The one head of a student that answers with one of several strings. */
const LabelHeadSchema = z.strictObject({
  /** Output field that the head answers. */
  field: Name,
  ...Output,
  kind: z.literal('softmax'),
  /** Labels in the order of the logits. */
  labels: Values,
});

/** A head of a student with several, as its task's output schema was compiled: see `Head` of packages/task. */
const PartHeadSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('choice'), name: Name, values: Values, ...Output }),
  z.strictObject({
    kind: z.literal('tags'),
    name: Name,
    labels: z.array(z.string()).min(1).max(MAX_LABELS),
    minItems: z.int().nonnegative(),
    maxItems: z.int().positive(),
    ...Output,
  }),
  z.strictObject({
    kind: z.literal('number'),
    name: Name,
    minimum: z.number(),
    maximum: z.number(),
    integer: z.boolean(),
    tolerance: z.number().nonnegative(),
    /** How absence is written, where there is any: `''` for left out. */
    absent: z.enum(['', 'null']).optional(),
    bins: Numbers,
    ...Output,
  }),
  z.strictObject({
    kind: z.literal('span'),
    name: Name,
    many: z.boolean(),
    absent: z.enum(['', 'null']).optional(),
    maxItems: z.int().positive(),
    ...Output,
  }),
]);

const HeadsSchema = z
  .array(z.union([LabelHeadSchema, PartHeadSchema]))
  .min(1)
  .max(MAX_HEADS);

export const LineageSchema = z.strictObject({
  task: z.strictObject({ name: z.string().min(1), digest: Digest }),
  /** Digest of the snapshot's manifest. */
  snapshotDigest: Digest,
  /** What the teacher was when it answered. */
  fingerprint: z.string().min(1),
});
/** Where a student's examples came from. */
export type Lineage = z.infer<typeof LineageSchema>;

/** `understudy.json`: what a student is, what it was trained on, and how. */
export const DescriptionSchema = z.strictObject({
  version: z.literal(1),
  family: z.enum(FAMILIES),
  heads: HeadsSchema,
  lineage: LineageSchema,
  training: z.strictObject({
    code: z.string(),
    runtime: z.string(),
    seed: z.int(),
    threads: z.int().positive(),
    engine: z.enum(ENGINES).default('ort'),
    device: z.enum(DEVICES),
    hyperparameters: z.record(z.string(), z.number()),
    trainExamples: z.int().positive(),
    devExamples: z.int().positive(),
    epochs: z.array(
      z.strictObject({ epoch: z.int(), loss: z.number(), devAgreement: z.number(), devLoss: z.number() }),
    ),
    /** The published model that the training started from. */
    pretrained: z.strictObject({ digest: Digest, train: z.enum(TRAINED_PARTS) }).optional(),
  }),
  precision: z.enum(['float32', 'int8']),
  /** Of the finished model, as it is in the bundle, on dev. */
  devAgreement: z.number().min(0).max(1),
  devLoss: z.number(),
});
export type Description = z.infer<typeof DescriptionSchema>;

/** Heads as `understudy.json` lists them: labels by their names where the answer is one of them, as transformers.js wants them. */
export function describedHeads(heads: readonly Head[]): Description['heads'] {
  const single = singleOf(heads);
  if (single) return [{ ...single, output: outputName(single.field), kind: 'softmax' }];
  return HeadsSchema.parse(heads.map((head) => ({ ...head, output: outputName(head.name) })));
}

/** What a student answers. */
export const headsOf = ({ heads }: Pick<Description, 'heads'>): Head[] =>
  heads.map((head): Head => {
    if (head.kind === 'softmax') return labelHead(head.field, head.labels);
    const { output: _, ...rest } = head;
    return rest.kind === 'number' || rest.kind === 'span' ? { ...rest, absent: rest.absent } : rest;
  });
