import type { Head, HeadValue, NumberHead, OutputPlan } from '@understudy/task/output/head';

/** As the servers and models of this world round: a float32 softmax over hundreds of labels is far nearer. */
const SUM_TOLERANCE = 1e-3;

/** How many probabilities a head has; 0 where none can be given. */
export const classesOf = (head: Head): number => {
  if (head.kind === 'choice') return head.values.length;
  if (head.kind === 'tags') return head.labels.length;
  if (head.kind === 'number') return head.bins.length + (head.absent === undefined ? 0 : 1);
  return 0;
};

/** What is wrong with a teacher's soft labels; undefined where nothing is. */
export const softLabelsFault = (
  soft: Readonly<Record<string, readonly number[]>>,
  heads: readonly Head[],
): string | undefined => {
  for (const [name, probabilities] of Object.entries(soft)) {
    const head = heads.find((one) => one.name === name);
    const classes = head ? classesOf(head) : 0;
    if (!head || classes === 0) return `expected probabilities for parts of the answer, got some for ${name}`;
    const valid = probabilities.every((each) => each >= 0 && each <= 1 + SUM_TOLERANCE);
    const sum = probabilities.reduce((total, each) => total + each, 0);
    // Each label of a set is there or not by itself.
    const whole = head.kind === 'tags' || Math.abs(sum - 1) <= SUM_TOLERANCE;
    if (probabilities.length === classes && valid && whole) continue;
    return `expected ${classes} probabilities for ${name}${head.kind === 'tags' ? '' : ', summing to 1'}, got ${probabilities.slice(0, 10).join(', ')}`;
  }
  return undefined;
};

const nearestBin = ({ bins }: NumberHead, value: number): number =>
  bins.reduce((best, bin, index) => (Math.abs(bin - value) < Math.abs(bins[best]! - value) ? index : best), 0);

/** The classes of a head that one answer has: one of a choice or a number, any number of a set. */
const classesIn = (head: Head, value: HeadValue): readonly number[] => {
  if (value.kind === 'choice') return [value.index];
  if (value.kind === 'tags') return value.indices;
  if (value.kind !== 'number' || head.kind !== 'number') return [];
  return [value.value === undefined ? head.bins.length : nearestBin(head, value.value)];
};

/** How often each class was answered, of several valid answers to one text: by head, for those that have classes. */
export const softFromSamples = (
  answers: readonly string[],
  { heads, encode }: Pick<OutputPlan, 'heads' | 'encode'>,
  text: string,
): Record<string, number[]> => {
  const encoded = answers.map((answer) => encode(answer, text)).filter((each) => each.ok);
  const soft: Record<string, number[]> = {};
  for (const [index, head] of heads.entries()) {
    const classes = classesOf(head);
    if (classes === 0) continue;
    const probabilities = new Array<number>(classes).fill(0);
    for (const { values } of encoded) {
      for (const each of classesIn(head, values[index]!)) probabilities[each]! += 1 / encoded.length;
    }
    soft[head.name] = probabilities;
  }
  return soft;
};
