import { canonicalJson, sha256Hex } from '@understudy/task/canonical';
import { z } from 'zod';
import { argmax } from './examples.ts';
import { MAX_LABELS } from './limits.ts';

export const PolicySchema = z.strictObject({
  version: z.literal(1),
  /** Digest of the student that it was made for. */
  studentDigest: z.string().regex(/^[0-9a-f]{64}$/),
  /** The output field that the head answers. */
  field: z.string().min(1),
  /** The labels in the order of the logits. */
  labels: z.array(z.string()).min(2).max(MAX_LABELS),
  /** Logits are divided by it before the softmax (Guo et al. 2017, arXiv 1706.04599). */
  temperature: z.number().positive(),
  /** The confidence from which on the student answers by itself. Above 1 it never does. */
  threshold: z.number().nonnegative(),
});

/** What the evaluator adds to a student: when to believe it. Content-addressed, apart from the bundle. */
export type Policy = z.infer<typeof PolicySchema>;

/** A policy as it is stored: canonical JSON. Its SHA-256 is the policy's digest. */
export const policyJson = (policy: Policy): string => canonicalJson(PolicySchema.parse(policy));

export const policyDigest = (policy: Policy): string => sha256Hex(policyJson(policy));

/** Reads a stored policy. @throws ZodError or SyntaxError when it is none of this version. */
export const parsePolicy = (json: string): Policy => PolicySchema.parse(JSON.parse(json));

/** A student's answer to one text. */
export type Decision = {
  /** Canonical JSON of the answer, as the teacher would give it: `{"label":"spam"}`. */
  readonly answer: string;
  readonly label: string;
  /** The calibrated probability of the label, 0..1. */
  readonly confidence: number;
  /** Whether the student answers by itself; if not, ask the teacher. */
  readonly confident: boolean;
  /** Calibrated probabilities in the order of the policy's labels. */
  readonly probabilities: Float64Array;
};

/** softmax(logits / temperature), in float64. */
export function probabilitiesOf(logits: ArrayLike<number>, temperature: number): Float64Array {
  const largest = logits[argmax(logits)] as number;
  const weights = Float64Array.from(logits, (logit) => Math.exp((logit - largest) / temperature));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

/**
 * What a student's logits mean under a policy.
 * @throws RangeError when there are not as many logits as the policy has labels.
 */
export function decide(logits: ArrayLike<number>, { field, labels, temperature, threshold }: Policy): Decision {
  if (logits.length !== labels.length) {
    throw new RangeError(`the policy has ${labels.length} labels, but the student gave ${logits.length} logits`);
  }
  const probabilities = probabilitiesOf(logits, temperature);
  const best = argmax(probabilities);
  const [label, confidence] = [labels[best] as string, probabilities[best] as number];
  return {
    answer: JSON.stringify({ [field]: label }),
    label,
    confidence,
    confident: confidence >= threshold,
    probabilities,
  };
}
