import type { Head, HeadValue } from '@understudy/task/output/head';
import { TrainingError } from './errors.ts';
import { widthOf } from './heads/layout.ts';
import { textsOf } from './heads/spans.ts';
import type { HeadTarget } from './heads/targets.ts';

/** What a student learns from: a text, what the teacher said of each head, and how much the example counts. */
export type Example = { readonly text: string; readonly target: readonly HeadTarget[]; readonly weight: number };

/** The index of the largest value; the first one of equals. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}

/** How far a teacher's probabilities may be from adding up to one: they come as float32, and some are rounded. */
const SUM_TOLERANCE = 0.01;

function checkProbabilities(head: Head, probabilities: readonly number[], where: string): void {
  const width = widthOf(head);
  if (probabilities.length !== width) {
    throw new TrainingError('bad-example', `${where}: expected ${width} probabilities, got ${probabilities.length}`);
  }
  // Labels of a set are independent of each other.
  const sum = head.kind === 'tags' ? 1 : probabilities.reduce((total, p) => total + p, 0);
  if (!probabilities.every((p) => p >= 0 && p <= 1 + SUM_TOLERANCE) || Math.abs(sum - 1) > SUM_TOLERANCE) {
    throw new TrainingError('bad-example', `${where}: [${probabilities}] are no probabilities that add up to one`);
  }
}

function checkTarget(head: Head, target: HeadTarget | undefined, { length }: string, where: string): void {
  const bad = (what: string): TrainingError => new TrainingError('bad-example', `${where}, ${head.name}: ${what}`);
  if (target?.value.kind !== head.kind) throw bad(`expected a ${head.kind}, got ${target?.value.kind ?? 'nothing'}`);
  const { value, probabilities } = target;
  if (probabilities && head.kind === 'span') throw bad('a span has no probabilities');
  if (probabilities) checkProbabilities(head, probabilities, where);
  const indices = value.kind === 'choice' ? [value.index] : value.kind === 'tags' ? value.indices : [];
  const outside = indices.find((index) => !(index >= 0 && index < widthOf(head)));
  if (outside !== undefined) throw bad(`${outside} is no index below ${widthOf(head)}`);
  if (value.kind === 'number' && head.kind === 'number' && value.value === undefined && head.absent === undefined) {
    throw bad('expected a number, got none');
  }
  if (value.kind === 'span' && !value.spans.every(([start, end]) => start >= 0 && start < end && end <= length)) {
    throw bad(`[${value.spans.join('; ')}] lie not all within the ${length} characters of the text`);
  }
}

function check({ text, target, weight }: Example, heads: readonly Head[], where: string): void {
  if (target.length !== heads.length) {
    throw new TrainingError('bad-example', `${where}: expected targets of ${heads.length} heads, got ${target.length}`);
  }
  for (const [i, head] of heads.entries()) checkTarget(head, target[i], text, where);
  if (!(weight > 0 && Number.isFinite(weight))) {
    throw new TrainingError('bad-example', `${where}: expected a weight above 0, got ${weight}`);
  }
}

/**
 * Checks that a student can be trained at all.
 * @throws TrainingError naming what is missing or wrong.
 */
export function checkExamples(train: readonly Example[], dev: readonly Example[], heads: readonly Head[]): void {
  if (heads.length === 0) throw new TrainingError('bad-settings', 'there is no head to train');
  if (train.length === 0) throw new TrainingError('no-examples', 'there is no train example to learn from');
  if (dev.length === 0) throw new TrainingError('no-examples', 'there is no dev example to choose a student by');
  for (const [i, example] of train.entries()) check(example, heads, `train example ${i}`);
  for (const [i, example] of dev.entries()) check(example, heads, `dev example ${i}`);
  const said = (example: Example): string => spelledAnswer(heads, example);
  const only = said(train[0] as Example);
  if (train.every((example) => said(example) === only)) {
    throw new TrainingError(
      'one-label',
      `the teacher gave ${only} for all ${train.length} train examples, so there is nothing to tell apart; ` +
        'sample more varied inputs, or reconsider the labels',
    );
  }
}

/** An answer for people, and for comparing: `"spam"`, or with several heads `label "spam", guest.name ["Ada"]`. */
function spelledAnswer(heads: readonly Head[], { text, target }: Example): string {
  const values = heads.map((head, i) => spelled(head, (target[i] as HeadTarget).value, text));
  return values.length === 1 ? (values[0] as string) : heads.map(({ name }, i) => `${name} ${values[i]}`).join(', ');
}

function spelled(head: Head, value: HeadValue, text: string): string {
  if (head.kind === 'choice' && value.kind === 'choice') return head.values[value.index] || 'nothing';
  if (head.kind === 'tags' && value.kind === 'tags') return `[${value.indices.map((i) => head.labels[i]).join()}]`;
  return value.kind === 'span' ? JSON.stringify(textsOf(text, value.spans)) : String('value' in value && value.value);
}
