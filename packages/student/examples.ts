import { TrainingError } from './errors.ts';

/**
 * What a student learns from: a text, the teacher's probability of each label (a one-hot vector where it gave only an
 * answer), and how much the example counts.
 */
export type Example = { readonly text: string; readonly target: readonly number[]; readonly weight: number };

/** The index of the largest value; the first one of equals. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}

/** How far a teacher's probabilities may be from adding up to one: they come as float32, and some are rounded. */
const SUM_TOLERANCE = 0.01;

function check({ target, weight }: Example, labels: number, where: string): void {
  if (target.length !== labels) {
    throw new TrainingError('bad-example', `${where}: expected ${labels} probabilities, got ${target.length}`);
  }
  const sum = target.reduce((total, p) => total + p, 0);
  if (!target.every((p) => p >= 0 && p <= 1 + SUM_TOLERANCE) || Math.abs(sum - 1) > SUM_TOLERANCE) {
    throw new TrainingError('bad-example', `${where}: [${target}] are no probabilities that add up to one`);
  }
  if (!(weight > 0 && Number.isFinite(weight))) {
    throw new TrainingError('bad-example', `${where}: expected a weight above 0, got ${weight}`);
  }
}

/**
 * Checks that a student can be trained at all.
 * @throws TrainingError naming what is missing or wrong.
 */
export function checkExamples(train: readonly Example[], dev: readonly Example[], labels: readonly string[]): void {
  if (train.length === 0) throw new TrainingError('no-examples', 'there is no train example to learn from');
  if (dev.length === 0) throw new TrainingError('no-examples', 'there is no dev example to choose a student by');
  for (const [i, example] of train.entries()) check(example, labels.length, `train example ${i}`);
  for (const [i, example] of dev.entries()) check(example, labels.length, `dev example ${i}`);
  const answers = new Set(train.map(({ target }) => argmax(target)));
  if (answers.size < 2) {
    const only = labels[argmax((train[0] as Example).target)];
    throw new TrainingError(
      'one-label',
      `the teacher gave "${only}" for all ${train.length} train examples, so there is nothing to tell apart; ` +
        'sample more varied inputs, or reconsider the labels',
    );
  }
}
