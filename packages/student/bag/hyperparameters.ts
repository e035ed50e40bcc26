import type { LoopSettings } from '../learner.ts';

/** How a `bag` student is shaped and trained. */
export type BagHyperparameters = LoopSettings & {
  /** Rows of the hashed embedding table: a power of two, at most 2¹⁶. */
  readonly rows: number;
  /** Numbers in a row. */
  readonly width: number;
  /** Share of n-grams that each step leaves out, in [0, 1). */
  readonly dropout: number;
  /** What a nat between two passes of a step costs, each with n-grams of its own left out; 0 for a single pass. */
  readonly consistency: number;
  /** Bound of the table's uniform initial values. */
  readonly tableBound: number;
};

/** Numbers in a table, at most: with int8 two megabytes. */
const MAX_TABLE_NUMBERS = 2 ** 21;
const MAX_ROWS = 2 ** 16;
const BATCH_TEXTS = 64;
/** A student of few examples needs more passes: fewer steps than this leave the table where it began. */
const MIN_STEPS = 100;
/** Where there are several heads, a text says more, and tagging its bytes takes longer to learn. */
const SEVERAL = { batchTexts: 16, minSteps: 3_000, maxEpochs: 80, learningRate: 1e-2 };
const ONE = { batchTexts: BATCH_TEXTS, minSteps: MIN_STEPS, maxEpochs: 40, learningRate: 8e-3 };
const MIN_EPOCHS = 12;

/**
 * Settings for a number of labels and examples, and for one head or several; for one, chosen on e-mail triage (2 labels) and Banking77 (77 labels); DESIGN.md has the
 * figures. A linear head of few labels has no use for wide rows, so their room goes to more rows, which collide less.
 */
export function bagDefaults(labels: number, trainExamples: number, several = false): BagHyperparameters {
  const width = labels <= 4 ? 16 : labels <= 16 ? 32 : 64;
  const { batchTexts, minSteps, maxEpochs, learningRate } = several ? SEVERAL : ONE;
  const epochs = Math.min(maxEpochs, Math.max(MIN_EPOCHS, Math.ceil((minSteps * batchTexts) / trainExamples)));
  return {
    rows: Math.min(MAX_ROWS, MAX_TABLE_NUMBERS / width),
    width,
    batchTexts,
    epochs,
    patienceEpochs: Math.ceil(epochs / 2),
    learningRate,
    warmupShare: 0,
    dropout: 0.4,
    consistency: 4,
    labelSmoothing: 0.05,
    weightDecay: 0.01,
    clipNorm: 0,
    tableBound: 0.02,
  };
}
