/** What the main thread and a student's worker say to each other. */

/** All that a worker needs to come up again after a crash. */
export interface StudentMaterial {
  readonly studentDigest: string;
  /** The bundle's archive, as the blob store verified it. */
  readonly bundle: Uint8Array;
  /** The policy as the blob store verified it. */
  readonly policyJson: string;
  /** The task's output field and its labels in the schema's order: the student must have been trained for these. */
  readonly field: string;
  readonly labels: readonly string[];
  /** Texts of the task's own examples, to warm up with. */
  readonly warmUpTexts: readonly string[];
  readonly threads: number;
}

/** One entry a text, in the texts' order. */
export interface Predictions {
  /** Index of the likeliest label. */
  readonly labels: Uint16Array;
  /** Calibrated probability of that label, 0..1. */
  readonly confidences: Float64Array;
  /** 1 where the policy lets the student answer. */
  readonly sure: Uint8Array;
  /** Tokens that the student read. */
  readonly tokens: Uint32Array;
}

export type ToWorker = { kind: 'predict'; texts: string[] } | { kind: 'close' };

export type FromWorker =
  | { kind: 'ready' }
  | { kind: 'unfit'; message: string }
  | { kind: 'predicted'; predictions: Predictions }
  | { kind: 'failed'; message: string };
