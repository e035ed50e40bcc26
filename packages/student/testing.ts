/** What several tests of students share: a small task whose answer shows in the text, and a student of it. */
import type { BagHyperparameters } from './bag/hyperparameters.ts';
import type { Lineage } from './description.ts';
import type { Example } from './examples.ts';
import type { ExportedStudent, StudentTraining } from './family.ts';
import { labelHead } from './heads/layout.ts';
import type { HeadTarget } from './heads/targets.ts';
import { trainStudent } from './train-student.ts';

export const LABELS = ['bill', 'parcel', 'password'] as const;
const OPENINGS = ['Hello,', 'Good morning!', 'Dear team,', 'Hi there', 'Question:', 'URGENT'];
const TOPICS = [
  ['my invoice is wrong', 'I was charged twice', 'please refund the payment', 'what does the invoice item mean'],
  ['the parcel never came', 'where is my delivery', 'the package arrived broken', 'track my shipment please'],
  ['I cannot sign in', 'reset my password', 'the login code does not work', 'my account is locked'],
];
const CLOSINGS = ['Thanks', 'regards, Ada', 'Cheers 😀', 'bye', 'Grüße'];

/** The target of a head whose probabilities are all that is known: its likeliest value is the answer. */
export function softTarget(probabilities: readonly number[]): HeadTarget {
  return { value: { kind: 'choice', index: probabilities.indexOf(Math.max(...probabilities)) }, probabilities };
}

/** Every combination of opening, topic and closing, in an order that mixes the labels; one in ten has a soft target. */
export function smallTask(): { train: Example[]; dev: Example[] } {
  const all = OPENINGS.flatMap((opening) =>
    CLOSINGS.flatMap((closing) =>
      [0, 1, 2, 3].flatMap((phrase) =>
        TOPICS.map((topic, label) => ({ text: `${opening} ${topic[phrase]}. ${closing}`, label })),
      ),
    ),
  );
  const examples = all.map(({ text, label }, i): Example => {
    const sure = i % 10 ? 1 : 0.7;
    const target = LABELS.map((_, l) => (l === label ? sure : (1 - sure) / (LABELS.length - 1)));
    return { text, target: [softTarget(target)], weight: i % 7 ? 1 : 2 };
  });
  return { train: examples.filter((_, i) => i % 5 !== 4), dev: examples.filter((_, i) => i % 5 === 4) };
}

/** A shape that trains in a moment, with enough steps for checkpoints in the middle of an epoch. */
export const SMALL: Partial<BagHyperparameters> = { rows: 1_024, width: 8, batchTexts: 3, epochs: 3 };

export const LINEAGE: Lineage = {
  task: { name: 'help-desk', digest: 'a'.repeat(64) },
  snapshotDigest: 'b'.repeat(64),
  fingerprint: 'c'.repeat(64),
};

/** A training of the small task: a bag, unless another candidate is given. */
export const smallOptions = (options: Partial<StudentTraining> = {}): StudentTraining => ({
  ...smallTask(),
  candidate: { family: 'bag', hyperparameters: SMALL },
  heads: [labelHead('topic', LABELS)],
  seed: 7,
  threads: 2,
  lineage: LINEAGE,
  ...options,
});

/** Trains and exports a student of the small task. */
export const smallStudent = (options: Partial<StudentTraining> = {}): Promise<ExportedStudent> =>
  trainStudent(smallOptions(options));
