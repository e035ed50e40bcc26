import type { LoopSettings } from '../learner.ts';

/** How heads on frozen features are trained. */
export type HeadHyperparameters = LoopSettings & {
  /** Share of features that each step leaves out, in [0, 1). */
  readonly dropout: number;
};

/** How a published encoder is trained with its head. */
export type FineTuningHyperparameters = HeadHyperparameters & {
  /** Share of tokens that each step leaves out, in [0, 1). */
  readonly tokenDropout: number;
  /** What the learning rate is multiplied by for the head. */
  readonly headFactor: number;
  /** What it is multiplied by for the layers next to the tokens; in between, by a power of it. */
  readonly bottomFactor: number;
  /** Tokens of a train text that are read; the rest is cut. */
  readonly maxTokens: number;
  /** Share of the encoder, from the end, that `last-layers` trains. */
  readonly lastShare: number;
};

const HEAD_STEPS = 1_000;
const [MIN_HEAD_EPOCHS, MAX_HEAD_EPOCHS] = [20, 60];

/** Settings for a number of train examples; DESIGN.md has the figures. */
export function headDefaults(trainExamples: number): HeadHyperparameters {
  const batchTexts = 32;
  const wanted = Math.ceil((HEAD_STEPS * batchTexts) / trainExamples);
  const epochs = Math.min(MAX_HEAD_EPOCHS, Math.max(MIN_HEAD_EPOCHS, wanted));
  return {
    batchTexts,
    epochs,
    patienceEpochs: Math.ceil(epochs / 2),
    learningRate: 1e-3,
    warmupShare: 0,
    dropout: 0.1,
    labelSmoothing: 0.1,
    weightDecay: 0.5,
    clipNorm: 0,
  };
}

const FINE_TUNING_STEPS = 200;
const [MIN_EPOCHS, MAX_EPOCHS] = [5, 10];

/** Settings for a number of train examples; DESIGN.md has the figures. */
export function fineTuningDefaults(trainExamples: number): FineTuningHyperparameters {
  const batchTexts = 32;
  const wanted = Math.ceil((FINE_TUNING_STEPS * batchTexts) / trainExamples);
  const epochs = Math.min(MAX_EPOCHS, Math.max(MIN_EPOCHS, wanted));
  return {
    batchTexts,
    epochs,
    patienceEpochs: epochs,
    learningRate: 1e-4,
    warmupShare: 0.06,
    dropout: 0.1,
    tokenDropout: 0.1,
    headFactor: 10,
    bottomFactor: 0.55,
    maxTokens: 64,
    lastShare: 0.34,
    labelSmoothing: 0.1,
    weightDecay: 0.01,
    clipNorm: 1,
  };
}
