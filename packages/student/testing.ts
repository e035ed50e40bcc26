/** What several tests of students share: a small task whose answer shows in the text, and a student of it. */
import { exportBag } from './bag/export.ts';
import type { BagHyperparameters } from './bag/hyperparameters.ts';
import { type TrainOptions, trainBag } from './bag/train.ts';
import type { Lineage } from './description.ts';
import type { Example } from './examples.ts';
import type { ExportedStudent } from './family.ts';

export const LABELS = ['bill', 'parcel', 'password'] as const;
const OPENINGS = ['Hello,', 'Good morning!', 'Dear team,', 'Hi there', 'Question:', 'URGENT'];
const TOPICS = [
  ['my invoice is wrong', 'I was charged twice', 'please refund the payment', 'what does the invoice item mean'],
  ['the parcel never came', 'where is my delivery', 'the package arrived broken', 'track my shipment please'],
  ['I cannot sign in', 'reset my password', 'the login code does not work', 'my account is locked'],
];
const CLOSINGS = ['Thanks', 'regards, Ada', 'Cheers 😀', 'bye', 'Grüße'];

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
    return { text, target, weight: i % 7 ? 1 : 2 };
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

export const smallOptions = (options: Partial<TrainOptions> = {}): TrainOptions => ({
  ...smallTask(),
  labels: LABELS,
  seed: 7,
  threads: 2,
  hyperparameters: SMALL,
  ...options,
});

/** Trains and exports a student of the small task. */
export async function smallStudent(options: Partial<TrainOptions> = {}): Promise<ExportedStudent> {
  const complete = smallOptions(options);
  const trained = await trainBag(complete);
  return exportBag({ trained, field: 'topic', train: complete.train, dev: complete.dev, lineage: LINEAGE });
}
