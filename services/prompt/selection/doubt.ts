import { type Prediction, probabilitiesOf } from '@understudy/student';
import { readHead } from '@understudy/student/heads/read';
import type { Head } from '@understudy/task/output/head';

/**
 * How unsure a student is of its answer to a text, 0..1: one minus the product of its heads' sureness. Of a choice that is the
 * distance of the two likeliest values (margin; Scheffer et al. 2001), of the others the probability of what they say.
 */
export function doubtOf(prediction: Prediction, heads: readonly Head[], text: string): number {
  let sureness = 1;
  for (const head of heads) {
    const logits = prediction.logits[head.name];
    if (head.kind === 'choice' && logits) sureness *= marginOf(logits);
    else sureness *= readHead(head, prediction, 1, text).confidence;
  }
  return 1 - sureness;
}

function marginOf(logits: Float32Array): number {
  let [first, second] = [0, 0];
  for (const probability of probabilitiesOf(logits, 1)) {
    if (probability > first) [first, second] = [probability, first];
    else if (probability > second) second = probability;
  }
  return first - second;
}
