/** How a `bag` student is shaped and trained. The defaults are what reached the figures in DESIGN.md. */
export type BagHyperparameters = {
  /** Rows of the hashed embedding table: a power of two, at most 2¹⁶. */
  readonly rows: number;
  /** Numbers in a row. */
  readonly width: number;
  /** Texts in a step. */
  readonly batchTexts: number;
  /** Passes over the train examples; training may stop earlier. */
  readonly epochs: number;
  /** Epochs without a better student on dev after which training stops. */
  readonly patienceEpochs: number;
  /** Learning rate after warm-up; it falls linearly to zero. */
  readonly learningRate: number;
  readonly warmupSteps: number;
  /** Share of n-grams that each step leaves out, in [0, 1). */
  readonly dropout: number;
  /** Share of each target that is spread over all labels, in [0, 1). */
  readonly labelSmoothing: number;
  /** Decay of the head's weights per step and learning rate; the table has none. */
  readonly weightDecay: number;
  /** Bound of the table's uniform initial values. */
  readonly tableBound: number;
};

export const BAG_DEFAULTS: BagHyperparameters = {
  rows: 32_768,
  width: 64,
  batchTexts: 64,
  epochs: 6,
  patienceEpochs: 3,
  learningRate: 4e-3,
  warmupSteps: 0,
  dropout: 0.2,
  labelSmoothing: 0.05,
  weightDecay: 0,
  tableBound: 0.1,
};
