/** What the main thread and a student's thread say to each other: one answer to each message, in order. */

/** All that a thread needs to become a student, at first and again after a crash. */
export interface StudentMaterial {
  readonly studentDigest: string;
  /** The bundle's archive, as the blob store verified it. */
  readonly bundle: Uint8Array;
  /** The policy as the blob store verified it. */
  readonly policyJson: string;
  /** The task's output field and its labels in the schema's order: the student must have been trained for these. */
  readonly field: string;
  readonly labels: readonly string[];
  /** Texts to warm up with. */
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

export type ToThread =
  | { kind: 'load'; material: StudentMaterial }
  | { kind: 'predict'; texts: string[] }
  | { kind: 'unload' };

export type FromThread =
  | { kind: 'done' }
  | { kind: 'predicted'; predictions: Predictions }
  | { kind: 'failed'; message: string };
