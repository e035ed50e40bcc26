import type { Clock, Graph, ParameterSpec, Parameters, TensorValue } from '@understudy/graph';
import { TrainingError } from './errors.ts';
import type { Example } from './examples.ts';
import type { EncoderSource } from './family.ts';
import type { Layout } from './heads/layout.ts';
import type { HeadLogits } from './heads/loss.ts';
import type { TokenOffsets } from './offsets.ts';
import type { TokenizerFiles } from './tokenizer.ts';

/** What the training loop itself reads of a candidate's settings; each family adds its own. */
export type LoopSettings = {
  /** Texts in a step. */
  readonly batchTexts: number;
  /** Passes over the train examples; training may stop earlier. */
  readonly epochs: number;
  /** Epochs without a better student on dev after which training stops. */
  readonly patienceEpochs: number;
  /** Learning rate at its highest; it falls linearly to zero. */
  readonly learningRate: number;
  /** Share of the steps in which the learning rate rises to its highest, in [0, 1). */
  readonly warmupShare: number;
  /** Share of each target that is spread over all labels, in [0, 1). */
  readonly labelSmoothing: number;
  /** Decay of weights that decay, per step and learning rate. */
  readonly weightDecay: number;
  /** The norm that a step's gradients are scaled down to where theirs is larger; 0 leaves them alone. */
  readonly clipNorm: number;
};

/** The texts of one split as a family reads them. */
export type EncodedTexts = {
  /** The bucket of each text, by its length: a batch holds texts of one bucket. */
  readonly buckets: Uint8Array;
  /** The inputs of the forward pass for some texts of one bucket, at most `batchTexts`; the next call may overwrite them. */
  readonly features: (indices: ArrayLike<number>, bucket: number) => Readonly<Record<string, TensorValue>>;
  /** Where there are span heads: the tokens that the logits of a bucket's texts are of, and where a text's tokens lie in it. */
  readonly tokens?: {
    readonly lengths: readonly number[];
    readonly offsets: (index: number) => TokenOffsets;
  };
};

/** How weights are stored in a finished model: four bytes a number, or one. */
export type Precision = 'float32' | 'int8';

/** Trained values by parameter, row-major. */
export type ParameterValues = Readonly<Record<string, Float32Array>>;

/** What a training started from: the SHA-256 (hex) of its files, and how much of it was trained. */
export type Pretrained = { readonly digest: string; readonly train: EncoderSource['train'] };

/** What becomes of trained parameters: the parts of a bundle that a family decides on. */
export type FinishedStudent = {
  /**
   * The whole student as an ONNX model with dynamic batch and sequence: `input_ids` and `attention_mask` in, the outputs
   * that `putOutputs` puts out.
   */
  readonly model: (precision: Precision) => Uint8Array;
  readonly tokenizer: TokenizerFiles;
  /** `config.json`, apart from the labels. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly pretrained?: Pretrained;
};

/** A family at work on one task: all that the common training loop needs to know of it. */
export type Learner = {
  readonly settings: LoopSettings & Readonly<Record<string, number>>;
  /** What the training starts from; absent where it starts from the seed alone. */
  readonly pretrained?: Pretrained;
  readonly parameters: readonly ParameterSpec[];
  readonly initial: ParameterValues;
  /** How many buckets of lengths there are. */
  readonly buckets: number;
  /**
   * Declares the inputs that `features` gives, for batches of exactly `batchTexts` texts of a bucket, and emits the
   * logits of all heads. With a clock it is a training step's forward pass, dropout included.
   */
  readonly logits: (graph: Graph, parameters: Parameters, bucket: number, clock?: Clock) => HeadLogits;
  readonly train: EncodedTexts;
  readonly dev: EncodedTexts;
  readonly finish: (parameters: ParameterValues) => FinishedStudent;
};

/** What a family opens a learner from. */
export type LearnerOptions = {
  readonly layout: Layout;
  readonly train: readonly Example[];
  readonly dev: readonly Example[];
  readonly seed: number;
  readonly threads: number;
};

/**
 * A family's defaults with a candidate's settings in their places.
 * @throws TrainingError `bad-settings` for a setting that the family does not have, or that is no number.
 */
export function settingsOf<T extends Readonly<Record<string, number>>>(
  defaults: T,
  given: Readonly<Record<string, number>> = {},
): T {
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(defaults, name) || !Number.isFinite(value)) {
      const known = Object.keys(defaults).join(', ');
      throw new TrainingError(
        'bad-settings',
        `hyperparameter ${name} = ${value}: expected a number for one of ${known}`,
      );
    }
  }
  return { ...defaults, ...given };
}
