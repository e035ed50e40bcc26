import { probabilitiesOf } from '@understudy/student';

/** Logits of one text by output field. */
type Prediction = Readonly<Record<string, Float32Array>>;

/**
 * How unsure a student is of its answer, 0..1: one minus the distance of its two likeliest labels (margin; Scheffer et al. 2001),
 * of the field where they are closest.
 */
export function doubtOf(prediction: Prediction): number {
  const margins = Object.values(prediction).map((logits) => {
    let [first, second] = [0, 0];
    for (const probability of probabilitiesOf(logits, 1)) {
      if (probability > first) [first, second] = [probability, first];
      else if (probability > second) second = probability;
    }
    return first - second;
  });
  return 1 - Math.min(1, ...margins);
}
