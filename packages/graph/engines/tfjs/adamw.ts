import * as tf from '@tensorflow/tfjs-core';
import type { AdamWOptions } from '../../optimizer.ts';
import type { StatePart } from '../../training-step.ts';

/** A parameter's value and moments. */
export type ParameterState = Readonly<Record<StatePart, tf.Tensor>>;

/** The Euclidean norm of all gradients as one vector: a scalar. */
export const globalNorm = (gradients: readonly tf.Tensor[]): tf.Tensor =>
  tf.sqrt(gradients.map((gradient) => tf.sum(tf.square(gradient))).reduce((a, b) => tf.add(a, b)));

/** Added to the norm before dividing by it, as in `optimizer.ts`. */
const CLIP_EPSILON = 1e-6;

/** The gradients scaled down to a norm, where theirs is larger. */
export function clipped(gradients: readonly tf.Tensor[], norm: tf.Tensor, clipNorm: number): tf.Tensor[] {
  const factor = tf.minimum(tf.div(clipNorm, tf.add(norm, CLIP_EPSILON)), 1);
  return gradients.map((gradient) => tf.mul(gradient, factor));
}

/**
 * One step of AdamW with moments kept as sums, as in `optimizer.ts`, where the algebra is.
 * @param step its number, from 1.
 */
export function adamW(
  { value, first, second }: ParameterState,
  gradient: tf.Tensor,
  options: AdamWOptions,
  { step, learningRate, decay }: { readonly step: number; readonly learningRate: number; readonly decay: boolean },
): Record<StatePart, tf.Tensor> {
  const { beta1, beta2, epsilon, weightDecay } = options;
  const correction = (beta: number): number => (1 - beta ** step) / (1 - beta);
  const spread = Math.sqrt(correction(beta2));
  const rate = (learningRate * spread) / correction(beta1);
  const nextFirst = tf.add(tf.mul(first, beta1), gradient);
  const nextSecond = tf.add(tf.mul(second, beta2), tf.square(gradient));
  const update = tf.mul(tf.div(nextFirst, tf.add(tf.sqrt(nextSecond), spread * epsilon)), rate);
  const shrunk = decay ? tf.mul(value, 1 - learningRate * weightDecay) : value;
  return { value: tf.sub(shrunk, update), first: nextFirst, second: nextSecond };
}
