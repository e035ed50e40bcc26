import { canonicalJson, sha256Hex } from '@understudy/task/canonical';
import type { HeadValue, OutputPlan } from '@understudy/task/output/head';
import { z } from 'zod';
import { argmax } from './examples.ts';
import { isAsked, layoutOf } from './heads/layout.ts';
import { type Prediction, type Reading, readHead } from './heads/read.ts';
import { MAX_HEADS } from './limits.ts';
import { isOutOfDistribution, OutOfDistributionSchema } from './out-of-distribution.ts';

export const PolicySchema = z.strictObject({
  version: z.literal(2),
  /** Digest of the student that it was made for. */
  studentDigest: z.string().regex(/^[0-9a-f]{64}$/),
  /** The student's heads in its order. */
  heads: z
    .array(
      z.strictObject({
        name: z.string().min(1),
        /** Logits are divided by it before they become probabilities (Guo et al. 2017, arXiv 1706.04599). */
        temperature: z.number().positive(),
      }),
    )
    .min(1)
    .max(MAX_HEADS),
  /** The confidence in the whole answer from which on the student answers by itself. Above 1 it never does. */
  threshold: z.number().nonnegative(),
  /** What train looked like: texts unlike it are the teacher's, however sure the student is. */
  outOfDistribution: OutOfDistributionSchema.optional(),
});

/** What the evaluator adds to a student: when to believe it. Content-addressed, apart from the bundle. */
export type Policy = z.infer<typeof PolicySchema>;

/** A policy as it is stored: canonical JSON. Its SHA-256 is the policy's digest. */
export const policyJson = (policy: Policy): string => canonicalJson(PolicySchema.parse(policy));

export const policyDigest = (policy: Policy): string => sha256Hex(policyJson(policy));

/** Policies of before there were several heads, which deployments may still name. */
const FirstPolicySchema = z.strictObject({
  version: z.literal(1),
  studentDigest: z.string(),
  field: z.string(),
  labels: z.array(z.string()),
  temperature: z.number(),
  threshold: z.number(),
});

/** Reads a stored policy. @throws ZodError or SyntaxError when it is none that this version knows. */
export function parsePolicy(json: string): Policy {
  const stored: unknown = JSON.parse(json);
  const first = FirstPolicySchema.safeParse(stored);
  if (!first.success) return PolicySchema.parse(stored);
  const { studentDigest, field, temperature, threshold } = first.data;
  return PolicySchema.parse({ version: 2, studentDigest, heads: [{ name: field, temperature }], threshold });
}

/** A student's answer to one text. */
export type Decision = {
  /** Canonical JSON of the answer, as the teacher would give it: `{"label":"spam"}`. undefined: only the teacher can answer. */
  readonly answer: string | undefined;
  /** The product of the heads' confidences, 0..1; 0 without an answer. It ranks answers: heads are not independent. */
  readonly confidence: number;
  /** Whether the student answers by itself; if not, because it is unsure or the text is unlike train, ask the teacher. */
  readonly confident: boolean;
  /** The calibrated probability of what each head says. What lies in an absent object is not asked: 1. */
  readonly heads: readonly { readonly name: string; readonly confidence: number }[];
};

/** softmax(logits / temperature), in float64. */
export function probabilitiesOf(logits: ArrayLike<number>, temperature: number): Float64Array {
  const largest = logits[argmax(logits)] as number;
  const weights = Float64Array.from(logits, (logit) => Math.exp((logit - largest) / temperature));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

const layouts = new WeakMap<OutputPlan, ReturnType<typeof layoutOf>>();

function layoutOfPlan(plan: OutputPlan): ReturnType<typeof layoutOf> {
  const known = layouts.get(plan) ?? layoutOf(plan.heads);
  layouts.set(plan, known);
  return known;
}

/**
 * What a student's prediction means under a policy.
 * @param plan of the task that the student was trained for
 * @param text that the prediction is of
 * @throws RangeError when policy, plan and prediction are not of the same heads.
 */
export function decide(prediction: Prediction, policy: Policy, plan: OutputPlan, text: string): Decision {
  const layout = layoutOfPlan(plan);
  if (policy.heads.length !== plan.heads.length) {
    throw new RangeError(
      `the policy has ${policy.heads.length} heads, but the task's answers have ${plan.heads.length}`,
    );
  }
  const readings = plan.heads.map((head, i): Reading => {
    const { name, temperature } = policy.heads[i] as Policy['heads'][number];
    if (name !== head.name) throw new RangeError(`the policy is of the head "${name}", expected "${head.name}"`);
    return readHead(head, prediction, temperature, text);
  });
  const values = readings.map(({ value }): HeadValue => value);
  const answer = plan.decode(values, text);
  const heads = layout.places.map((place, i) => ({
    name: place.head.name,
    confidence: isAsked(place, layout, values) ? (readings[i] as Reading).confidence : 1,
  }));
  const product = heads.reduce((all, { confidence }) => all * confidence, 1);
  const confidence = answer === undefined ? 0 : product;
  const sure = answer !== undefined && confidence >= policy.threshold;
  const known = policy.outOfDistribution;
  return { answer, confidence, confident: sure && !(known && isOutOfDistribution(known, text)), heads };
}
