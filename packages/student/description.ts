import { DEVICES, ENGINES } from '@understudy/graph';
import { z } from 'zod';
import { FAMILIES, TRAINED_PARTS } from './family.ts';
import { MAX_LABELS } from './limits.ts';

const Digest = z.string().regex(/^[0-9a-f]{64}$/, 'expected a SHA-256 in lower-case hex');

const HeadSchema = z.strictObject({
  /** Output field that the head answers. */
  field: z.string().min(1),
  /** Name of the model output with its logits. */
  output: z.string().min(1),
  kind: z.literal('softmax'),
  /** Labels in the order of the logits. */
  labels: z.array(z.string()).min(2).max(MAX_LABELS),
});
export type Head = z.infer<typeof HeadSchema>;

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
  heads: z.array(HeadSchema).length(1),
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
